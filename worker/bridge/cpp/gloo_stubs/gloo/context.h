// Declarations that c10d's ProcessGroupGloo.hpp needs of Gloo, whose headers PyTorch's wheel leaves out although its
// libraries carry the code. Only names and virtual tables: nothing here is defined, so nothing can drift silently
// except the order of virtual functions, which follows the Gloo that libtorch 2.13 was built with.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
