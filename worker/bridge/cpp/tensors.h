// Slices of tensor pointers as libtorch's functions want them.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "kindred-bridge/src/ffi.rs.h"

namespace kindred {

inline std::vector<at::Tensor> to_vector(Tensors tensors) {
  std::vector<at::Tensor> result;
  result.reserve(tensors.size());
  for (const auto& reference : tensors) result.push_back(*reference.tensor);
  return result;
}

}  // namespace kindred
