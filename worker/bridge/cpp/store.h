// What a Store holds, for the C++ files that need it.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include "bridge.h"

namespace kindred {

struct Store::Inner {
  c10::intrusive_ptr<c10d::Store> store;
};

}  // namespace kindred
