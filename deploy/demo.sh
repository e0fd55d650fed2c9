#!/usr/bin/env bash
# Trains SCE on Fashion-MNIST on two ranks of this machine, to the end: what `make demo` runs.
#
#   deploy/demo.sh [--set key=value ...]
#
# Everything that a run writes is below .kindred/demo.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# A folder per run: one that was interrupted leaves its unfinished job behind.
state=$root/.kindred/demo/$(date +%Y%m%d-%H%M%S)
bin=${CARGO_TARGET_DIR:-$root/target}/release
say() { printf 'demo: %s\n' "$*"; }

say "building the programs (cold: some minutes)"
cargo build --release --locked --bins -p kindred-coordinator -p kindred-agent -p kindred-worker

mkdir -p "$state"
say "starting a coordinator and two workers; their log is ${state#"$root"/}/up.log"
"$bin/kindred" up --listen 127.0.0.1:0 --state "$state" --workers 2 --data-root "$root/.kindred/data" \
  >"$state/up.log" 2>&1 &
up=$!
stop() {
  kill -TERM "$up" 2>/dev/null || true
  wait "$up" 2>/dev/null || true
}
trap stop EXIT
for _ in $(seq 100); do
  [ -s "$state/coordinator/address" ] && break
  kill -0 "$up" 2>/dev/null || { tail -n 20 "$state/up.log" >&2; exit 1; }
  sleep 0.1
done
[ -s "$state/coordinator/address" ] || { tail -n 20 "$state/up.log" >&2; exit 1; }
KINDRED_COORDINATOR=$(cat "$state/coordinator/address")
export KINDRED_COORDINATOR

say "the coordinator is at $KINDRED_COORDINATOR; in another terminal, try:"
say "  export KINDRED_COORDINATOR=$KINDRED_COORDINATOR"
say "  ${bin#"$root"/}/kindred jobs        # also: nodes, get, logs -f, metrics, checkpoints, cancel"
say "  kill -9 \$(pgrep -n kindred-rank)   # a rank dies, the job goes on"
"$bin/kindred" submit deploy/jobs/sce-fashion-mnist.yaml --watch "$@"
