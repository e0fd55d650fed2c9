#!/usr/bin/env bash
# Times scheduling passes over 10,000 nodes with 80,000 devices and 2,000 jobs that wait. Exit code 0 whatever was measured.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --release --locked --quiet -p kindred-coordinator --example bench_scheduling
"${CARGO_TARGET_DIR:-target}/release/examples/bench_scheduling"
