#!/usr/bin/env bash
# Builds the programs and runs a coordinator and workers (two, if not said) on this machine: sourced by scripts that submit jobs.
#
#   source deploy/cluster.sh; start_cluster STATE_FOLDER [WORKERS]
#
# Afterwards $bin holds the programs, KINDRED_COORDINATOR the address and $cluster the process id. The cluster ends with the script.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
bin=${CARGO_TARGET_DIR:-$root/target}/release

build_programs() {
  cargo build --release --locked --bins -p kindred-coordinator -p kindred-agent -p kindred-worker
}

start_cluster() {
  local state=$1 workers=${2:-2} log=$1/up.log address=$1/coordinator/address
  mkdir -p "$state"
  rm -f "$address"
  "$bin/kindred" up --listen 127.0.0.1:0 --state "$state" --workers "$workers" --data-root "$root/.kindred/data" \
    >"$log" 2>&1 &
  cluster=$!
  trap stop_cluster EXIT
  for _ in $(seq 100); do
    [ -s "$address" ] && break
    kill -0 "$cluster" 2>/dev/null || break
    sleep 0.1
  done
  [ -s "$address" ] || { tail -n 20 "$log" >&2; exit 1; }
  KINDRED_COORDINATOR=$(cat "$address")
  export KINDRED_COORDINATOR
}

stop_cluster() {
  kill -TERM "$cluster" 2>/dev/null || true
  wait "$cluster" 2>/dev/null || true
}
