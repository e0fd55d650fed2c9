#!/usr/bin/env bash
# The feature `cuda`, in a target folder of its own: compiled, linked to the real NCCL, and run up to "no GPUs found", which is as far as a machine without one gets.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
step() { printf '\n== %s\n' "$*"; }
fail() { printf 'cuda: %s\n' "$*" >&2; exit 1; }

step "libtorch with CUDA"
# A LIBTORCH that is set is the one for the CPU.
env -u LIBTORCH deploy/setup/libtorch.sh cuda
export LIBTORCH=$root/.libtorch/cuda CARGO_TARGET_DIR=$root/target/cuda

step "the bridge, and NCCL up to the missing GPU"
mkdir -p "$CARGO_TARGET_DIR"
log=$CARGO_TARGET_DIR/bridge-tests.log
cargo test -p kindred-bridge --features cuda --locked --tests | tee "$log"
grep -q '^test nccl_.* ok$' "$log" || fail "no test of NCCL ran"

step "the rank"
cargo build -p kindred-worker --features cuda --locked --quiet --bins
rank=$CARGO_TARGET_DIR/debug/kindred-rank
grep -q 'NEEDED.*libtorch_cuda' <<<"$(readelf -d "$rank")" || fail "kindred-rank does not load libtorch_cuda"
# It needs an agent to do more, and says so once all its libraries are found.
output=$("$rank" 2>&1) && fail "kindred-rank runs without an agent"
printf '%s\n' "$output"
grep -q 'started by kindred-worker' <<<"$output" || fail "kindred-rank does not start"
