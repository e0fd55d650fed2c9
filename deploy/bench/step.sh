#!/usr/bin/env bash
# Times a training step beside PyTorch eager's, in turns; ends with a table of figures. Exit code 0 whatever was measured.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
deploy/setup/peers.sh
cargo build --release --locked -p kindred-worker --example bench_step
python3 deploy/bench/step.py "${CARGO_TARGET_DIR:-$root/target}/release/examples/bench_step" "$root/.tools/peers/packages"
