#!/usr/bin/env bash
# Everything that the make targets need; safe to run again at any time.
#
#   deploy/setup/setup.sh [cpu|cuda]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v cargo >/dev/null || fail "cargo is needed: see https://rustup.rs"
command -v g++ >/dev/null || fail "a C++ compiler is needed (Debian: apt-get install g++)"
command -v python3 >/dev/null || fail "python3 is needed (Debian: apt-get install python3 python3-pip)"

"$here/libtorch.sh" "${1:-cpu}"
"$here/fashion_mnist.sh"
"$here/cargo_deny.sh"
