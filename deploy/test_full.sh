#!/usr/bin/env bash
# What needs more time than `make test` has: the CUDA build, linked to the real NCCL, up to "no GPUs found", and the
# full counts of the long tests.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
step() { printf '\n== %s\n' "$*"; }

step "libtorch with CUDA"
deploy/setup/libtorch.sh cuda
step "CUDA build, and NCCL up to the missing GPU"
export LIBTORCH=$root/.libtorch/cuda CARGO_TARGET_DIR=$root/target/cuda
cargo build -p kindred-worker --features cuda --locked --quiet --bins
cargo test -p kindred-bridge --features cuda --locked nccl
readelf -d "$CARGO_TARGET_DIR/debug/kindred-rank" | grep -q libtorch_cuda ||
  { echo "kindred-rank does not load libtorch_cuda" >&2; exit 1; }
