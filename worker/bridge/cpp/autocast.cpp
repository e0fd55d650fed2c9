// Mixed precision for one scope of one thread.
#include <ATen/autocast_mode.h>

#include "bridge.h"

namespace kindred {
namespace {

at::DeviceType device_type(bool is_cuda) { return is_cuda ? at::kCUDA : at::kCPU; }

}  // namespace

Autocast::Autocast(bool is_cuda, int8_t dtype, bool enabled)
    : is_cuda_(is_cuda),
      was_enabled_(at::autocast::is_autocast_enabled(device_type(is_cuda))),
      previous_dtype_(static_cast<int8_t>(at::autocast::get_autocast_dtype(device_type(is_cuda)))) {
  at::autocast::set_autocast_enabled(device_type(is_cuda), enabled);
  if (enabled) at::autocast::set_autocast_dtype(device_type(is_cuda), static_cast<at::ScalarType>(dtype));
  at::autocast::increment_nesting();
}

Autocast::~Autocast() {
  // Casts of weights are cached for the scope: kept longer, they would outlive the optimiser's next step.
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_dtype(device_type(is_cuda_), static_cast<at::ScalarType>(previous_dtype_));
  at::autocast::set_autocast_enabled(device_type(is_cuda_), was_enabled_);
}

std::unique_ptr<Autocast> enter_autocast(bool is_cuda, int8_t dtype, bool enabled) {
  return std::make_unique<Autocast>(is_cuda, dtype, enabled);
}

}  // namespace kindred
