#!/usr/bin/env bash
# CreateJob on SQLite with 64 clients, beside one sync per job on the same disk in the same run. Exit code 0 whatever was measured.
#
#   deploy/bench/coordinator.sh [ROUNDS] [SECONDS]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
state=.kindred/bench-coordinator/$(date +%Y%m%d-%H%M%S)
mkdir -p "$state"
trap 'rm -rf "$state"' EXIT
cargo build --release --locked --quiet -p kindred-coordinator --example bench_create
"${CARGO_TARGET_DIR:-target}/release/examples/bench_create" "$state" "$@"
