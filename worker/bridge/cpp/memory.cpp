// Memory: layout of tensors, and the C library's allocator.
#include <ATen/core/Tensor.h>
#include <malloc.h>

#include <climits>

#include "bridge.h"

namespace kindred {

Tensor* channels_last(const Tensor& tensor) { return new Tensor(tensor.contiguous(at::MemoryFormat::ChannelsLast)); }

bool keep_big_blocks_on_the_heap() { return mallopt(M_MMAP_THRESHOLD, 1 << 30) == 1 && mallopt(M_TRIM_THRESHOLD, INT_MAX) == 1; }

}  // namespace kindred
