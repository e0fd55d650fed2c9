// Optimiser steps over lists of tensors, in one kernel call where libtorch has one.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include "kindred-bridge/src/ffi.rs.h"
#include "tensors.h"

namespace kindred {
namespace {

using List = std::vector<at::Tensor>;

// The parameters that have a gradient. The fused CPU kernels walk memory and never look at strides, so all that
// belongs to a parameter must lie in memory as it does.
class Moved {
 public:
  Moved(Tensors parameters, Tensors gradients) {
    for (size_t idx = 0; idx < parameters.size(); ++idx) {
      const auto& gradient = *gradients[idx].tensor;
      if (!gradient.defined()) continue;
      const auto& parameter = *parameters[idx].tensor;
      bool is_alike = gradient.strides() == parameter.strides();
      indices_.push_back(idx);
      parameters_.push_back(parameter);
      gradients_.push_back(is_alike ? gradient : at::empty_like(parameter).copy_(gradient));
    }
  }

  bool empty() const { return indices_.empty(); }
  const List& parameters() const { return parameters_; }
  const List& gradients() const { return gradients_; }

  // What is kept from step to step, one tensor of the parameter's shape a parameter.
  List kept(const char* name, Tensors tensors) const {
    List result;
    for (size_t i = 0; i < indices_.size(); ++i) {
      const auto& tensor = *tensors[indices_[i]].tensor;
      TORCH_CHECK(tensor.strides() == parameters_[i].strides(), name, " ", indices_[i],
                  " is laid out unlike its parameter");
      result.push_back(tensor);
    }
    return result;
  }

  // The step counts, one element a parameter.
  List counts(Tensors tensors) const {
    List result;
    for (size_t idx : indices_) result.push_back(*tensors[idx].tensor);
    return result;
  }

 private:
  std::vector<size_t> indices_;
  List parameters_, gradients_;
};

void sgd(const Moved& moved, const List& directions, Tensors momentum_buffers, const SgdConfig& config) {
  List buffers;
  if (config.momentum != 0) buffers = moved.kept("momentum buffer", momentum_buffers);
  at::_fused_sgd_(moved.parameters(), directions, buffers, config.weight_decay, config.momentum, config.lr,
                  /*dampening=*/0, config.nesterov, /*maximize=*/false, /*is_first_step=*/false);
}

}  // namespace

void fused_sgd(Tensors parameters, Tensors gradients, Tensors momentum_buffers, const SgdConfig& config) {
  at::NoGradGuard no_grad;
  Moved moved(parameters, gradients);
  if (!moved.empty()) sgd(moved, moved.gradients(), momentum_buffers, config);
}

void fused_lars(Tensors parameters, Tensors gradients, Tensors momentum_buffers, const LarsConfig& config) {
  at::NoGradGuard no_grad;
  Moved moved(parameters, gradients);
  if (moved.empty()) return;
  auto directions = at::_foreach_add(moved.gradients(), moved.parameters(), config.weight_decay);
  auto parameter_norms = at::stack(at::_foreach_norm(moved.parameters()));
  auto direction_norms = at::stack(at::_foreach_norm(directions));
  auto is_scaled = parameter_norms.gt(0).logical_and(direction_norms.gt(0));
  auto ratios = parameter_norms.mul(config.trust_coefficient).div(direction_norms);
  at::_foreach_mul_(directions, ratios.masked_fill(is_scaled.logical_not(), 1).unbind());
  SgdConfig step{config.lr, config.momentum, /*weight_decay=*/0, /*nesterov=*/false};
  sgd(moved, directions, momentum_buffers, step);
}

void fused_adamw(Tensors parameters, Tensors gradients, const AdamWMemory& memory, const AdamWConfig& config) {
  at::NoGradGuard no_grad;
  Moved moved(parameters, gradients);
  if (moved.empty()) return;
  auto means = moved.kept("mean gradient", memory.means);
  auto squares = moved.kept("mean square", memory.squares);
  auto counts = moved.counts(memory.counts);
  at::_foreach_add_(counts, 1);
  at::_fused_adamw_(moved.parameters(), moved.gradients(), means, squares, /*max_exp_avg_sqs=*/{}, counts, config.lr,
                    config.beta1, config.beta2, config.weight_decay, config.epsilon, /*amsgrad=*/false,
                    /*maximize=*/false);
}

void foreach_lerp(Tensors targets, Tensors sources, double weight) {
  at::NoGradGuard no_grad;
  at::_foreach_lerp_(to_vector(targets), to_vector(sources), weight);
}

Tensor* clip_gradients(Tensors gradients, double max_norm) {
  at::NoGradGuard no_grad;
  List defined;
  for (const auto& gradient : to_vector(gradients)) {
    if (gradient.defined()) defined.push_back(gradient);
  }
  if (defined.empty()) return new Tensor(at::zeros(at::IntArrayRef()));
  auto norm = at::linalg_vector_norm(at::stack(at::_foreach_norm(defined)));
  at::_foreach_mul_(defined, norm.add(1e-6).reciprocal().mul(max_norm).clamp_max(1));
  return new Tensor(norm);
}

}  // namespace kindred
