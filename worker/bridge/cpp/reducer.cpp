// c10d's Reducer, the engine of DistributedDataParallel, with a bucket layout that never changes.
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include "group.h"
#include "kindred-bridge/src/ffi.rs.h"
#include "tensors.h"

namespace kindred {
namespace {

// Reducer asks its user to turn off the search for unused parameters when none is unused. The search is what keeps the
// layout, so that one warning says nothing here; all others pass.
class QuietAboutUnused final : public c10::WarningHandler {
 public:
  explicit QuietAboutUnused(c10::WarningHandler* next) : next_(next) {}

  void process(const c10::Warning& warning) override {
    if (warning.msg().find("find_unused_parameters=True") == std::string::npos) next_->process(warning);
  }

 private:
  c10::WarningHandler* next_;
};

}  // namespace

struct Reducer::Inner {
  // A raw pointer: its destructor may throw, which no smart pointer lets out.
  c10d::Reducer* reducer;
  // Reducer tells it, without asking whether it is there, when a step uses other parameters than the one before. Its
  // destructor looks at the reducer a last time.
  std::shared_ptr<c10d::Logger> logger;
};

Reducer::Reducer(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}

Reducer::~Reducer() {
  inner_->logger.reset();
  try {
    delete inner_->reducer;
  } catch (const std::exception& error) {
    TORCH_WARN("dropping the reducer: ", error.what());
  }
}

void Reducer::prepare_forward() { inner_->reducer->prepare_for_forward(); }

void Reducer::prepare_backward(Tensors outputs) {
  QuietAboutUnused quiet(c10::WarningUtils::get_warning_handler());
  c10::WarningUtils::WarningHandlerGuard guard(&quiet);
  inner_->reducer->prepare_for_backward(to_vector(outputs));
}

std::unique_ptr<Reducer> new_reducer(const Group& group, Tensors parameters, uint64_t bucket_bytes,
                                     uint64_t first_bucket_bytes) {
  auto tensors = to_vector(parameters);
  for (const auto& tensor : tensors) TORCH_CHECK(tensor.requires_grad(), "the reducer got a parameter without gradient");
  auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(tensors, {first_bucket_bytes, bucket_bytes});
  // Gradients are ready from the last layer to the first, so the buckets are taken from the end.
  std::reverse(buckets.begin(), buckets.end());
  std::vector<bool> is_sparse(tensors.size(), false);
  auto* reducer = new c10d::Reducer(
      tensors, buckets, group.inner()->group, is_sparse, static_cast<int64_t>(bucket_bytes),
      /*find_unused_parameters=*/true, /*gradient_as_bucket_view=*/true, /*param_names=*/{},
      static_cast<int64_t>(first_bucket_bytes), /*skip_all_reduce_unused_params=*/false, /*use_python_reducer=*/false,
      /*bucket_bytes_cap_list=*/{});
  auto not_owned = std::shared_ptr<c10d::Reducer>(reducer, [](c10d::Reducer*) {});
  auto logger = std::make_shared<c10d::Logger>(not_owned);
  reducer->set_logger(logger);
  return std::make_unique<Reducer>(std::make_unique<Reducer::Inner>(Reducer::Inner{reducer, logger}));
}

}  // namespace kindred
