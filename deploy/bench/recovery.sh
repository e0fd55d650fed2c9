#!/usr/bin/env bash
# Times what the loss of a rank costs a job of four ranks, by phase; ends with a table of figures. Exit code 0 whatever was
# measured.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../cluster.sh"
build_programs
state=$root/.kindred/bench-recovery/$(date +%Y%m%d-%H%M%S)
start_cluster "$state" 4
python3 deploy/bench/recovery.py "$bin/kindred" "$cluster" "$state/up.log" "$@"
deploy/bench/checkpoint.sh
