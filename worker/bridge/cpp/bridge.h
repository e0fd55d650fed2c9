// Everything that src/ffi.rs sees of the C++ half. libtorch's headers are heavy, so none is included here: handles
// hide what they hold, and tensors cross as pointers to at::Tensor, which is what tch's C_tensor is.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "rust/cxx.h"

namespace at {
class Tensor;
}

namespace kindred {

using at::Tensor;

// Defined by cxx from src/ffi.rs.
enum class ReduceOp : uint8_t;
struct GroupConfig;
struct SgdConfig;
struct LarsConfig;
struct AdamWConfig;
struct AdamWMemory;
struct TensorRef;
struct StoreHandler;
using Tensors = rust::Slice<const TensorRef>;

// errors.cpp: "type\x1fmessage" of an exception; src/error.rs makes an error kind of it.
std::string describe(const std::exception& error);
std::string describe_unknown();

// store.cpp
class Store {
 public:
  struct Inner;
  explicit Store(std::unique_ptr<Inner> inner);
  ~Store();
  const Inner& inner() const { return *inner_; }

  void set(rust::Str key, rust::Slice<const uint8_t> value) const;
  rust::Vec<uint8_t> get(rust::Str key, int64_t timeout_ms) const;
  int64_t add(rust::Str key, int64_t amount) const;
  rust::Vec<uint8_t> compare_set(rust::Str key, rust::Slice<const uint8_t> expected,
                                 rust::Slice<const uint8_t> desired) const;
  void wait(rust::Slice<const rust::String> keys, int64_t timeout_ms) const;
  bool check(rust::Slice<const rust::String> keys) const;
  bool delete_key(rust::Str key) const;
  int64_t count_keys() const;
  void append(rust::Str key, rust::Slice<const uint8_t> value) const;

 private:
  std::unique_ptr<Inner> inner_;
};
std::shared_ptr<Store> new_rust_store(rust::Box<StoreHandler> handler, int64_t timeout_ms);
std::shared_ptr<Store> new_hash_store(int64_t timeout_ms);

// group.cpp
class Work {
 public:
  struct Inner;
  explicit Work(std::unique_ptr<Inner> inner);
  ~Work();
  void wait() const;

 private:
  std::unique_ptr<Inner> inner_;
};

class Group {
 public:
  struct Inner;
  explicit Group(std::shared_ptr<Inner> inner);
  ~Group();
  const std::shared_ptr<Inner>& inner() const { return inner_; }

  std::unique_ptr<Work> all_reduce(const Tensor& tensor, ReduceOp op) const;
  Tensor* all_gather(const Tensor& local) const;
  std::unique_ptr<Work> broadcast(const Tensor& tensor, uint32_t root) const;
  void barrier() const;
  void abort() const;

 private:
  std::shared_ptr<Inner> inner_;
};
std::shared_ptr<Group> connect_group(const Store& store, const GroupConfig& config);

// autograd.cpp
void backward(const Tensor& root);
Tensor* all_gather_with_grad(const Group& group, const Tensor& local);
void clear_grads(Tensors parameters);

// reducer.cpp
class Reducer {
 public:
  struct Inner;
  explicit Reducer(std::unique_ptr<Inner> inner);
  ~Reducer();
  void prepare_forward();
  void prepare_backward(Tensors outputs);

 private:
  std::unique_ptr<Inner> inner_;
};
std::unique_ptr<Reducer> new_reducer(const Group& group, Tensors parameters, uint64_t bucket_bytes,
                                     uint64_t first_bucket_bytes);

// autocast.cpp
class Autocast {
 public:
  Autocast(bool is_cuda, int8_t dtype, bool enabled);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool is_cuda_;
  bool was_enabled_;
  int8_t previous_dtype_;
};
std::unique_ptr<Autocast> enter_autocast(bool is_cuda, int8_t dtype, bool enabled);

// optim.cpp
void fused_sgd(Tensors parameters, Tensors gradients, Tensors momentum_buffers, const SgdConfig& config);
void fused_lars(Tensors parameters, Tensors gradients, Tensors momentum_buffers, const LarsConfig& config);
void fused_adamw(Tensors parameters, Tensors gradients, const AdamWMemory& memory, const AdamWConfig& config);
void foreach_lerp(Tensors targets, Tensors sources, double weight);
Tensor* clip_gradients(Tensors gradients, double max_norm);

// memory.cpp
Tensor* channels_last(const Tensor& tensor);
bool keep_big_blocks_on_the_heap();

}  // namespace kindred

namespace rust::behavior {

// Takes the place of cxx's own, which lets anything that is not a std::exception terminate the process.
template <typename Try, typename Fail>
static void trycatch(Try&& func, Fail&& fail) noexcept try {
  func();
} catch (const std::exception& error) {
  fail(::kindred::describe(error));
} catch (...) {
  fail(::kindred::describe_unknown());
}

}  // namespace rust::behavior
