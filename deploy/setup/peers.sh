#!/usr/bin/env bash
# Puts the programs that benchmarks are measured against into .tools/peers: a Python environment with PyTorch 2.13.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
peers=$root/.tools/peers
version=2.13.0
say() { printf 'setup: %s\n' "$*"; }

if [ "$(cat "$peers/.complete" 2>/dev/null)" = "$version" ]; then
  say "PyTorch $version for benchmarks is in place"
  exit 0
fi
rm -rf "$peers"
mkdir -p "$peers"
say "PyTorch $version for benchmarks: downloading and unpacking (4.5 GB on disk)"
# A folder of packages needs neither venv (Debian's python3-venv) nor root.
python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile \
  --target "$peers/packages" "torch==$version" numpy
echo "$version" >"$peers/.complete"
say "PyTorch $version for benchmarks: ready"
