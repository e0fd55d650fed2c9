#!/usr/bin/env bash
# A coordinator and two workers, each on a host of its own. While a job of two ranks trains, the network is cut for 8 s, more than twice the
# detection budget: around a worker, around the coordinator, or between the workers. The job must end as if nothing had been.
#
#   unshare -Umn --map-root-user bash partition.sh PROGRAMS FOLDER worker|coordinator|ranks
set -euo pipefail
programs=$1 folder=$2 cut=$3
source "$(dirname "${BASH_SOURCE[0]}")/lan.sh"

for host in 1 2 3; do
  make_host "$host"
done
start_coordinator --detection-budget 3s
start_worker 2
start_worker 3
# With one of them the job would start at once, with one rank.
for _ in $(seq 300); do
  [ "$(kindred nodes -o json | grep -c NODE_STATE_READY)" = 2 ] && break
  sleep 0.1
done

# The step of the newest checkpoint.
committed() {
  kindred checkpoints job-1 -o json | python3 -c 'import json, sys; print(max([0, *(int(it["step"]) for it in json.load(sys.stdin))]))'
}
# Waits for a checkpoint of a later step.
committed_after() {
  for _ in $(seq 300); do
    [ "$(committed)" -gt "$1" ] && return
    sleep 0.2
  done
  echo "no checkpoint after step $1" >&2
  exit 1
}

kindred submit "$folder/job.yaml" -o json
committed_after 0
case $cut in
  worker) pull_out 3 ;;
  coordinator) pull_out 1 ;;
  ranks) isolate 2 on && isolate 3 on ;;
esac
sleep 8
case $cut in
  worker) plug_in 3 ;;
  coordinator) plug_in 1 ;;
  ranks) isolate 2 off && isolate 3 off ;;
esac
committed_after "$(committed)"
kindred watch job-1
kindred get job-1 -o json >"$folder/job.json"
