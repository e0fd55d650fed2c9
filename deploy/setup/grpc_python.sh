#!/usr/bin/env bash
# Puts gRPC for Python, pinned, into .tools/grpc: what makes a client from the .proto files, and runs it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$root/.tools/grpc
packages=(grpcio==1.76.0 grpcio-tools==1.76.0)
say() { printf 'setup: %s\n' "$*"; }

if [ "$(cat "$target/.complete" 2>/dev/null)" = "${packages[*]}" ]; then
  say "${packages[*]} are in place"
  exit 0
fi
rm -rf "$target"
mkdir -p "$target"
say "${packages[*]}: downloading"
# A folder of packages needs neither venv (Debian's python3-venv) nor root.
python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --only-binary=:all: \
  --target "$target/packages" "${packages[@]}"
echo "${packages[*]}" >"$target/.complete"
say "${packages[*]}: ready"
