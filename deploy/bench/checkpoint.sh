#!/usr/bin/env bash
# Times how long a checkpoint holds training up, beside one that training writes itself, in turns; ends with a table of figures.
# Exit code 0 whatever was measured. KINDRED_BENCH_FOLDER: on the disk that is meant (default: below the target folder).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
target="${CARGO_TARGET_DIR:-$root/target}"
profile="${KINDRED_BENCH_PROFILE:-release}"
cargo build --profile "$profile" --locked -p kindred-worker --example bench_checkpoint
folder=$(mktemp -d "${KINDRED_BENCH_FOLDER:-$target}/bench-checkpoint.XXXXXX")
trap 'rm -rf "$folder"' EXIT
python3 deploy/bench/checkpoint.py "$target/${profile/dev/debug}/examples/bench_checkpoint" "$folder"
