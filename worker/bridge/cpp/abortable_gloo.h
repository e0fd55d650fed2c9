// c10d's Gloo backend, with an abort.
#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <mutex>
#include <vector>

namespace kindred {

// c10d's own backend for Gloo cannot be aborted, and Gloo does not tell whoever waits for a message that was half received
// or half sent when its connection ended: that operation ends by its time-out alone. Here each operation has a future of its
// own, for whoever waits, which fails when the group is aborted. What Gloo still does for it, it does in the background.
class AbortableGloo final : public c10d::Backend {
 public:
  using WorkPtr = c10::intrusive_ptr<c10d::Work>;
  using Tensors = std::vector<at::Tensor>;

  AbortableGloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                c10::intrusive_ptr<c10d::ProcessGroupGloo::Options> options);
  // Waits for the operations in flight, unless the group was aborted.
  ~AbortableGloo() override;

  const std::string getBackendName() const override { return "gloo"; }
  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr _allgather_base(at::Tensor& gathered, at::Tensor& local, const c10d::AllgatherOptions& options) override;
  WorkPtr barrier(const c10d::BarrierOptions& options) override;

  // Fails all operations in flight, and those to come. Their tensors may still change until Gloo's time-out.
  void abort() override;

 private:
  class Operation;

  template <typename Submit>
  WorkPtr start(c10d::OpType type, Submit&& submit);

  std::mutex mutex_;
  bool is_aborted_ = false;
  std::vector<c10::weak_intrusive_ptr<Operation>> in_flight_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo_;
};

}  // namespace kindred
