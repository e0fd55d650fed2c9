#!/usr/bin/env bash
# Runs the jobs that the results page lacks on two workers of this machine, and writes the page.
#
#   deploy/results/results.sh [--page-only] [--only METHOD ...]
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/../cluster.sh"
build_programs
# A folder per call: a run that was interrupted leaves its unfinished job behind.
start_cluster "$root/.kindred/results/$(date +%Y%m%d-%H%M%S)"
python3 deploy/results/results.py "$bin/kindred" "$@"
