// Process groups and their collectives, over Gloo and (feature `cuda`) NCCL.
#include "group.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#ifdef KINDRED_CUDA
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "abortable_gloo.h"
#include "kindred-bridge/src/ffi.rs.h"
#include "store.h"

namespace kindred {
namespace {

using c10d::ProcessGroup;
using std::chrono::milliseconds;
using StorePtr = c10::intrusive_ptr<c10d::Store>;
using BackendPtr = c10::intrusive_ptr<c10d::Backend>;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;

BackendPtr new_gloo(const StorePtr& store, const GroupConfig& config) {
  auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(config.timeout_ms));
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(std::string(config.address)));
  return c10::make_intrusive<AbortableGloo>(store, config.rank, config.world_size, std::move(options));
}

BackendPtr new_nccl([[maybe_unused]] const StorePtr& store, [[maybe_unused]] const GroupConfig& config) {
#ifdef KINDRED_CUDA
  auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = milliseconds(config.timeout_ms);
  return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, config.rank, config.world_size, options);
#else
  TORCH_CHECK(false, "this build has no NCCL: it needs the feature `cuda`");
#endif
}

c10d::ReduceOp torch_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::Sum:
      return c10d::ReduceOp::SUM;
    case ReduceOp::Min:
      return c10d::ReduceOp::MIN;
    case ReduceOp::Max:
      return c10d::ReduceOp::MAX;
  }
  TORCH_CHECK(false, "unknown reduction");
}

}  // namespace

struct Work::Inner {
  // Keeps the group until the operation is over.
  std::shared_ptr<const Group::Inner> group;
  WorkPtr work;
  // Where the result goes when the operation ran on a contiguous copy.
  at::Tensor target;
  at::Tensor contiguous;
};

Work::Work(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}
Work::~Work() = default;

void Work::wait() const {
  inner_->group->finish(*inner_->work);
  if (inner_->contiguous.is_same(inner_->target)) return;
  at::NoGradGuard no_grad;
  inner_->target.copy_(inner_->contiguous);
}

WorkPtr Group::Inner::start_all_reduce(const at::Tensor& tensor, c10d::ReduceOp op) const {
  return start([&](c10d::Backend& backend) {
    std::vector<at::Tensor> tensors{tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = std::move(op);
    options.timeout = timeout;
    return backend.allreduce(tensors, options);
  });
}

void Group::Inner::finish(c10d::Work& work) const { work.wait(kNoTimeout); }

at::Tensor Group::Inner::all_gather(const at::Tensor& local) const {
  at::NoGradGuard no_grad;
  auto input = local.detach().contiguous();
  auto shape = input.sizes().vec();
  shape.insert(shape.begin(), group->getSize());
  auto gathered = at::empty(shape, input.options());
  if (input.numel() == 0) return gathered;
  auto work = start([&](c10d::Backend& backend) {
    // Gloo wants one dimension, which it cuts into equal parts.
    auto flat = gathered.view(-1), local_flat = input.view(-1);
    c10d::AllgatherOptions options;
    options.timeout = timeout;
    return backend._allgather_base(flat, local_flat, options);
  });
  finish(*work);
  return gathered;
}

Group::Group(std::shared_ptr<Inner> inner) : inner_(std::move(inner)) {}
Group::~Group() = default;

std::unique_ptr<Work> Group::all_reduce(const Tensor& tensor, ReduceOp op) const {
  at::NoGradGuard no_grad;
  auto contiguous = tensor.contiguous();
  auto work = inner_->start_all_reduce(contiguous, torch_op(op));
  return std::make_unique<Work>(
      std::make_unique<Work::Inner>(Work::Inner{inner_, std::move(work), tensor, std::move(contiguous)}));
}

Tensor* Group::all_gather(const Tensor& local) const { return new Tensor(inner_->all_gather(local)); }

std::unique_ptr<Work> Group::broadcast(const Tensor& tensor, uint32_t root) const {
  at::NoGradGuard no_grad;
  auto contiguous = tensor.contiguous();
  auto work = inner_->start([&](c10d::Backend& backend) {
    std::vector<at::Tensor> tensors{contiguous};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    options.timeout = inner_->timeout;
    return backend.broadcast(tensors, options);
  });
  return std::make_unique<Work>(
      std::make_unique<Work::Inner>(Work::Inner{inner_, std::move(work), tensor, std::move(contiguous)}));
}

void Group::barrier() const {
  auto work = inner_->start([&](c10d::Backend& backend) {
    c10d::BarrierOptions options;
    options.timeout = inner_->timeout;
    return backend.barrier(options);
  });
  inner_->finish(*work);
}

void Group::abort() const {
  inner_->aborted = true;
  inner_->backend->abort();
}

std::shared_ptr<Group> connect_group(const Store& store, const GroupConfig& config) {
  bool is_nccl = config.is_nccl;
  auto prefixed = c10::make_intrusive<c10d::PrefixStore>(std::string(config.name), store.inner().store);
  auto backend = is_nccl ? new_nccl(prefixed, config) : new_gloo(prefixed, config);
  auto group = c10::make_intrusive<ProcessGroup>(prefixed, config.rank, config.world_size);
  auto type = is_nccl ? ProcessGroup::BackendType::NCCL : ProcessGroup::BackendType::GLOO;
  // Without it NCCL guesses a device from the rank.
  if (is_nccl) group->setBoundDeviceId(c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(config.device_index)));
  group->setDefaultBackend(type);
  group->setBackend(is_nccl ? c10::DeviceType::CUDA : c10::DeviceType::CPU, type, backend);
  auto inner = std::make_shared<Group::Inner>();
  inner->group = std::move(group);
  inner->backend = std::move(backend);
  inner->timeout = milliseconds(config.timeout_ms);
  return std::make_shared<Group>(std::move(inner));
}

}  // namespace kindred
