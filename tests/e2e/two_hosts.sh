#!/usr/bin/env bash
# Two hosts, each a network namespace, joined by a cable: a coordinator and a worker on one, a worker on the other.
#
#   unshare -Umn --map-root-user bash two_hosts.sh PROGRAMS FOLDER
set -euo pipefail
programs=$1 folder=$2

mount -t tmpfs tmpfs /run
for host in 1 2; do
  ip netns add "host$host"
  ip -n "host$host" link set lo up
done
ip link add cable1 netns host1 type veth peer name cable2 netns host2
for host in 1 2; do
  ip -n "host$host" addr add "10.77.0.$host/24" dev "cable$host"
  ip -n "host$host" link set "cable$host" up
done

pids=()
# The workers leave first, as they would before their coordinator goes.
stop() {
  for pid in "${pids[@]:1}" "${pids[0]}"; do
    kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
  done
}
trap stop EXIT
export RUST_LOG=info
ip netns exec host1 "$programs/kindred-coordinator" --listen 10.77.0.1:7460 --state "$folder/coordinator" \
  >"$folder/coordinator.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  [ -s "$folder/coordinator/address" ] && break
  sleep 0.1
done
for host in 1 2; do
  # Nothing but the coordinator's address: the data address follows from the route to it.
  ip netns exec "host$host" "$programs/kindred-worker" --coordinator 10.77.0.1:7460 --name "host$host" \
    --state "$folder/worker$host" --jobs-dir "$folder/jobs$host" --data-root "$folder/data" \
    >"$folder/worker$host.log" 2>&1 &
  pids+=($!)
done

kindred() { ip netns exec host2 "$programs/kindred" --coordinator 10.77.0.1:7460 "$@"; }
kindred submit "$folder/job.yaml" --watch
kindred nodes -o json | python3 -c '
import json, sys
for node in json.load(sys.stdin):
    print("placed on", node["data_address"])'
