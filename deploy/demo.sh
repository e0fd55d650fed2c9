#!/usr/bin/env bash
# Trains SCE on Fashion-MNIST on two ranks of this machine, to the end: what `make demo` runs.
#
#   deploy/demo.sh [--set key=value ...]
#
# Everything that a run writes is below .kindred/demo.
set -euo pipefail

source "$(dirname "${BASH_SOURCE[0]}")/cluster.sh"
# A folder per run: one that was interrupted leaves its unfinished job behind.
state=$root/.kindred/demo/$(date +%Y%m%d-%H%M%S)
say() { printf 'demo: %s\n' "$*"; }

say "building the programs (cold: some minutes)"
build_programs
say "starting a coordinator and two workers; their log is ${state#"$root"/}/up.log"
start_cluster "$state"
say "the coordinator is at $KINDRED_COORDINATOR; in another terminal, try:"
say "  export KINDRED_COORDINATOR=$KINDRED_COORDINATOR"
say "  ${bin#"$root"/}/kindred jobs        # also: nodes, get, logs -f, metrics, checkpoints, cancel"
say "  kill -9 \$(pgrep -n kindred-rank)   # a rank dies, the job goes on"
"$bin/kindred" submit deploy/jobs/sce-fashion-mnist.yaml --watch "$@"
