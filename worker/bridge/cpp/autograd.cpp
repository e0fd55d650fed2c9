// The backward pass as a call that can fail, and the one collective that gradients flow through.
#include <torch/csrc/autograd/custom_function.h>

#include <ATen/core/grad_mode.h>

#include "group.h"
#include "kindred-bridge/src/ffi.rs.h"

namespace kindred {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct GroupHolder : torch::CustomClassHolder {
  explicit GroupHolder(std::shared_ptr<Group::Inner> inner) : inner(std::move(inner)) {}
  std::shared_ptr<Group::Inner> inner;
};

// Forward: every rank's tensor. Backward: what all ranks' losses say about this rank's tensor, summed.
struct GatherWithGrad : torch::autograd::Function<GatherWithGrad> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& local, c10::intrusive_ptr<GroupHolder> holder) {
    auto gathered = holder->inner->all_gather(local);
    context->saved_data["group"] = c10::IValue::make_capsule(std::move(holder));
    return gathered;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    auto capsule = context->saved_data["group"].toCapsule();
    const auto& inner = *c10::static_intrusive_pointer_cast<GroupHolder>(capsule)->inner;
    // The gradient belongs to the graph: the sum is made in a copy.
    auto sum = gradients.at(0).clone(at::MemoryFormat::Contiguous);
    inner.finish(*inner.start_all_reduce(sum, c10d::ReduceOp::SUM));
    return {sum.select(0, inner.group->getRank()), at::Tensor()};
  }
};

}  // namespace

void backward(const Tensor& root) { root.backward(); }

Tensor* all_gather_with_grad(const Group& group, const Tensor& local) {
  return new Tensor(GatherWithGrad::apply(local, c10::make_intrusive<GroupHolder>(group.inner())));
}

void clear_grads(Tensors parameters) {
  for (const auto& parameter : parameters) parameter.tensor->mutable_grad().reset();
}

}  // namespace kindred
