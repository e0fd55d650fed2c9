#!/usr/bin/env bash
# Two hosts: a coordinator and a worker on one, a worker on the other.
#
#   unshare -Umn --map-root-user bash two_hosts.sh PROGRAMS FOLDER
set -euo pipefail
programs=$1 folder=$2
source "$(dirname "${BASH_SOURCE[0]}")/lan.sh"

make_host 1
make_host 2
start_coordinator
start_worker 1
start_worker 2

kindred submit "$folder/job.yaml" --watch
kindred nodes -o json | python3 -c '
import json, sys
for node in json.load(sys.stdin):
    print("placed on", node["data_address"])'
