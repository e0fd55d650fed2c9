#include "abortable_gloo.h"

#include <atomic>
#include <stdexcept>
#include <thread>
#include <utility>

namespace kindred {
namespace {

using c10::ivalue::Future;

std::exception_ptr aborted() {
  // The words are those of a lost peer (src/error.rs): to whoever waits it is the same.
  return std::make_exception_ptr(std::runtime_error("the process group was aborted: not connected any more"));
}

}  // namespace

// An operation as others see it: it ends with Gloo's or with the group, whichever is first.
class AbortableGloo::Operation final : public c10d::Work {
 public:
  Operation(int rank, c10d::OpType type, Future& gloos)
      : c10d::Work(rank, type), future_(gloos.createInstance(gloos.elementType())) {}

  bool isCompleted() override { return future_->completed(); }
  bool isSuccess() const override { return future_->completed() && !future_->hasError(); }
  c10::intrusive_ptr<Future> getFuture() override { return future_; }

  // Gloo's own time-out ends it: it says more than that of a wait.
  bool wait(std::chrono::milliseconds /*timeout*/) override {
    future_->waitAndThrow();
    return true;
  }

  void end_as(Future& gloos) {
    if (has_ended_.test_and_set()) return;
    if (gloos.hasError()) {
      future_->setError(gloos.exception_ptr());
    } else {
      future_->markCompleted(gloos.value());
    }
  }

  void abort() override {
    if (!has_ended_.test_and_set()) future_->setError(aborted());
  }

 private:
  std::atomic_flag has_ended_;
  c10::intrusive_ptr<Future> future_;
};

AbortableGloo::AbortableGloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                             c10::intrusive_ptr<c10d::ProcessGroupGloo::Options> options)
    : c10d::Backend(rank, size),
      gloo_(c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, std::move(options))) {}

AbortableGloo::~AbortableGloo() {
  if (!is_aborted_) return;
  // It joins threads that wait for peers who may be gone or hang.
  std::thread([gloo = std::move(gloo_)]() mutable { gloo.reset(); }).detach();
}

template <typename Submit>
AbortableGloo::WorkPtr AbortableGloo::start(c10d::OpType type, Submit&& submit) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (is_aborted_) std::rethrow_exception(aborted());
  auto gloos = submit(*gloo_)->getFuture();
  auto operation = c10::make_intrusive<Operation>(getRank(), type, *gloos);
  gloos->addCallback([operation](Future& ended) { operation->end_as(ended); });
  std::erase_if(in_flight_, [](const auto& operation) { return operation.expired(); });
  in_flight_.emplace_back(operation);
  return operation;
}

AbortableGloo::WorkPtr AbortableGloo::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
  return start(c10d::OpType::BROADCAST, [&](auto& gloo) { return gloo.broadcast(tensors, options); });
}

AbortableGloo::WorkPtr AbortableGloo::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
  return start(c10d::OpType::ALLREDUCE, [&](auto& gloo) { return gloo.allreduce(tensors, options); });
}

AbortableGloo::WorkPtr AbortableGloo::_allgather_base(at::Tensor& gathered, at::Tensor& local,
                                                      const c10d::AllgatherOptions& options) {
  return start(c10d::OpType::_ALLGATHER_BASE,
               [&](auto& gloo) { return gloo._allgather_base(gathered, local, options); });
}

AbortableGloo::WorkPtr AbortableGloo::barrier(const c10d::BarrierOptions& options) {
  return start(c10d::OpType::BARRIER, [&](auto& gloo) { return gloo.barrier(options); });
}

void AbortableGloo::abort() {
  std::vector<c10::weak_intrusive_ptr<Operation>> in_flight;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    is_aborted_ = true;
    in_flight.swap(in_flight_);
  }
  // Without the lock: who hears of it may come back at once.
  for (const auto& weak : in_flight) {
    if (auto operation = weak.lock()) operation->abort();
  }
}

}  // namespace kindred
