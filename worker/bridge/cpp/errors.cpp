#include <c10/util/Exception.h>
#include <cxxabi.h>

#include <cstdlib>
#include <typeinfo>

#include "bridge.h"

namespace kindred {
namespace {

std::string readable(const char* mangled) {
  int status = 0;
  char* name = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  std::string result = status == 0 && name != nullptr ? name : mangled;
  std::free(name);
  return result;
}

}  // namespace

std::string describe(const std::exception& error) {
  // The dynamic type is found without Gloo's headers, which are not there to be included.
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const char* message = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  return readable(typeid(error).name()) + "\x1f" + message;
}

std::string describe_unknown() { return "unknown\x1fsomething that is not a std::exception was thrown"; }

}  // namespace kindred
