// c10d's key-value store: one that asks Rust, and the in-process one for ranks that are threads.
#include "store.h"

#include <torch/csrc/distributed/c10d/HashStore.hpp>

#include "kindred-bridge/src/ffi.rs.h"

namespace kindred {
namespace {

using Bytes = std::vector<uint8_t>;
using Keys = std::vector<std::string>;
using std::chrono::milliseconds;

rust::Slice<const uint8_t> slice(const Bytes& bytes) { return {bytes.data(), bytes.size()}; }

Bytes bytes(rust::Slice<const uint8_t> slice) { return {slice.begin(), slice.end()}; }

Bytes bytes(const rust::Vec<uint8_t>& vec) { return {vec.begin(), vec.end()}; }

rust::Vec<uint8_t> vec(const Bytes& bytes) {
  rust::Vec<uint8_t> result;
  result.reserve(bytes.size());
  for (uint8_t byte : bytes) result.push_back(byte);
  return result;
}

rust::Vec<rust::String> rust_keys(const Keys& keys) {
  rust::Vec<rust::String> result;
  result.reserve(keys.size());
  for (const auto& key : keys) result.push_back(rust::String(key));
  return result;
}

Keys torch_keys(rust::Slice<const rust::String> keys) {
  Keys result;
  result.reserve(keys.size());
  for (const auto& key : keys) result.emplace_back(key);
  return result;
}

// Every call lands in Rust, on whichever thread of libtorch's makes it, and blocks there.
class RustStore final : public c10d::Store {
 public:
  RustStore(rust::Box<StoreHandler> handler, milliseconds timeout)
      : c10d::Store(timeout), handler_(std::move(handler)) {}

  c10::intrusive_ptr<c10d::Store> clone() override {
    return c10::make_intrusive<RustStore>(handler_->duplicate(), timeout_);
  }

  void set(const std::string& key, const Bytes& value) override { handler_->set(key, slice(value)); }

  Bytes get(const std::string& key) override { return bytes(handler_->get(key, timeout_.count())); }

  int64_t add(const std::string& key, int64_t amount) override { return handler_->add(key, amount); }

  Bytes compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) override {
    return bytes(handler_->compare_set(key, slice(expected), slice(desired)));
  }

  bool deleteKey(const std::string& key) override { return handler_->delete_key(key); }

  // Never throws: libtorch's watchdogs poll it, and a store that is away for a while must not end them.
  bool check(const Keys& keys) override try {
    return handler_->check(rust_keys(keys));
  } catch (const std::exception&) {
    return false;
  }

  int64_t getNumKeys() override { return handler_->count_keys(); }

  void wait(const Keys& keys) override { wait(keys, timeout_); }

  // Gloo waits for five minutes wherever it has no time-out of its own: the store's limit holds for every wait.
  void wait(const Keys& keys, const milliseconds& timeout) override {
    bool is_limited = timeout != kNoTimeout && timeout < timeout_;
    handler_->wait(rust_keys(keys), (is_limited ? timeout : timeout_).count());
  }

  void append(const std::string& key, const Bytes& value) override { handler_->append(key, slice(value)); }

 private:
  rust::Box<StoreHandler> handler_;
};

std::shared_ptr<Store> share(c10::intrusive_ptr<c10d::Store> store) {
  return std::make_shared<Store>(std::make_unique<Store::Inner>(Store::Inner{std::move(store)}));
}

}  // namespace

Store::Store(std::unique_ptr<Inner> inner) : inner_(std::move(inner)) {}
Store::~Store() = default;

void Store::set(rust::Str key, rust::Slice<const uint8_t> value) const {
  inner_->store->set(std::string(key), bytes(value));
}

rust::Vec<uint8_t> Store::get(rust::Str key, int64_t timeout_ms) const {
  // `get` alone would wait for the store's own timeout, which is shared with other threads.
  std::string name(key);
  inner_->store->wait({name}, milliseconds(timeout_ms));
  return vec(inner_->store->get(name));
}

int64_t Store::add(rust::Str key, int64_t amount) const { return inner_->store->add(std::string(key), amount); }

rust::Vec<uint8_t> Store::compare_set(rust::Str key, rust::Slice<const uint8_t> expected,
                                      rust::Slice<const uint8_t> desired) const {
  return vec(inner_->store->compareSet(std::string(key), bytes(expected), bytes(desired)));
}

void Store::wait(rust::Slice<const rust::String> keys, int64_t timeout_ms) const {
  inner_->store->wait(torch_keys(keys), milliseconds(timeout_ms));
}

bool Store::check(rust::Slice<const rust::String> keys) const { return inner_->store->check(torch_keys(keys)); }

bool Store::delete_key(rust::Str key) const { return inner_->store->deleteKey(std::string(key)); }

int64_t Store::count_keys() const { return inner_->store->getNumKeys(); }

void Store::append(rust::Str key, rust::Slice<const uint8_t> value) const {
  inner_->store->append(std::string(key), bytes(value));
}

std::shared_ptr<Store> new_rust_store(rust::Box<StoreHandler> handler, int64_t timeout_ms) {
  return share(c10::make_intrusive<RustStore>(std::move(handler), milliseconds(timeout_ms)));
}

std::shared_ptr<Store> new_hash_store(int64_t timeout_ms) {
  auto store = c10::make_intrusive<c10d::HashStore>();
  store->setTimeout(milliseconds(timeout_ms));
  return share(std::move(store));
}

}  // namespace kindred
