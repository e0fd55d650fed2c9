// What a Group holds, for the C++ files that need it.
#pragma once

#include <ATen/core/Tensor.h>

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include <atomic>
#include <mutex>

#include "bridge.h"

namespace kindred {

struct Group::Inner {
  c10::intrusive_ptr<c10d::ProcessGroup> group;
  c10::intrusive_ptr<c10d::Backend> backend;
  std::chrono::milliseconds timeout;
  // Backends count their operations without a lock.
  mutable std::mutex submitting;
  mutable std::atomic<bool> aborted{false};

  // Starts an operation, unless the group was aborted.
  template <typename Submit>
  c10::intrusive_ptr<c10d::Work> start(Submit&& submit) const {
    TORCH_CHECK(!aborted, "the process group was aborted");
    std::lock_guard<std::mutex> lock(submitting);
    return submit(*backend);
  }

  c10::intrusive_ptr<c10d::Work> start_all_reduce(const at::Tensor& tensor, c10d::ReduceOp op) const;

  // Waits for an operation: with Gloo until it is done, with NCCL until the current stream waits for it.
  void finish(c10d::Work& work) const;

  // Every rank's tensor, in rank order: [W, ...].
  at::Tensor all_gather(const at::Tensor& local) const;
};

}  // namespace kindred
