#!/usr/bin/env bash
# What needs more time than `make test` has: 1,000 seeds of the simulation, an outage of 30 s, methods on 4 ranks, and the CUDA build, linked to the real NCCL, up to "no GPUs
# found".
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
step() { printf '\n== %s\n' "$*"; }
fail() { printf 'test-full: %s\n' "$*" >&2; exit 1; }

step "1,000 random schedules of faults"
KINDRED_SIMULATE_SEEDS=1000 deploy/simulate.sh

step "the coordinator is away for 30 s"
cargo build --workspace --bins --locked --quiet
KINDRED_OUTAGE_SECONDS=30 cargo test --workspace --locked --test e2e -- training_goes_on

step "the contract of every method on 2 and 4 ranks"
KINDRED_CONTRACT_FULL=1 cargo test --workspace --locked --test contract

step "libtorch with CUDA"
# A LIBTORCH that is set is the one for `make test`.
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
