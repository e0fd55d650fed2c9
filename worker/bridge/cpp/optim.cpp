// Optimiser steps over lists of tensors, in one kernel call where libtorch has one.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>

#include "kindred-bridge/src/ffi.rs.h"
#include "tensors.h"

namespace kindred {
namespace {

// The fused CPU kernel walks memory and never looks at strides.
at::Tensor laid_out_like(const at::Tensor& tensor, const at::Tensor& parameter) {
  if (tensor.strides() == parameter.strides()) return tensor;
  return at::empty_like(parameter).copy_(tensor);
}

}  // namespace

void fused_sgd(Tensors parameters, Tensors gradients, Tensors momentum_buffers, const SgdConfig& config) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> selected, grads, buffers;
  bool has_momentum = config.momentum != 0;
  for (size_t idx = 0; idx < parameters.size(); ++idx) {
    const auto& parameter = *parameters[idx].tensor;
    const auto& gradient = *gradients[idx].tensor;
    if (!gradient.defined()) continue;
    selected.push_back(parameter);
    grads.push_back(laid_out_like(gradient, parameter));
    if (!has_momentum) continue;
    const auto& buffer = *momentum_buffers[idx].tensor;
    TORCH_CHECK(buffer.strides() == parameter.strides(), "momentum buffer ", idx, " is laid out unlike its parameter");
    buffers.push_back(buffer);
  }
  if (selected.empty()) return;
  at::_fused_sgd_(selected, grads, buffers, config.weight_decay, config.momentum, config.lr, /*dampening=*/0,
                  config.nesterov, /*maximize=*/false, /*is_first_step=*/false);
}

void foreach_lerp(Tensors targets, Tensors sources, double weight) {
  at::NoGradGuard no_grad;
  at::_foreach_lerp_(to_vector(targets), to_vector(sources), weight);
}

}  // namespace kindred
