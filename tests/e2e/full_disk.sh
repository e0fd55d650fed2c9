#!/usr/bin/env bash
# A worker whose jobs folder has room for two checkpoints and not for a third.
#
#   unshare -Um --map-root-user bash full_disk.sh PROGRAMS FOLDER
set -euo pipefail
programs=$1 folder=$2

mkdir "$folder/small-disk"
mount -t tmpfs -o size=5m tmpfs "$folder/small-disk"
pids=()
stop() {
  kill "${pids[@]}" 2>/dev/null || true
  wait "${pids[@]}" 2>/dev/null || true
}
trap stop EXIT
export RUST_LOG=info
"$programs/kindred-coordinator" --listen 127.0.0.1:0 --state "$folder/coordinator" >"$folder/coordinator.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  [ -s "$folder/coordinator/address" ] && break
  sleep 0.1
done
KINDRED_COORDINATOR=$(cat "$folder/coordinator/address")
export KINDRED_COORDINATOR
"$programs/kindred-worker" --coordinator "$KINDRED_COORDINATOR" --state "$folder/worker" \
  --jobs-dir "$folder/small-disk" --data-root "$folder/data" >"$folder/worker.log" 2>&1 &
pids+=($!)

code=0
"$programs/kindred" submit "$folder/job.yaml" --watch || code=$?
[ "$code" -eq 11 ] || { echo "exit code $code, expected 11" >&2; exit 1; }
"$programs/kindred" get job-1 -o json
"$programs/kindred" checkpoints job-1

# What a manifest names is there, whole.
python3 - "$folder/small-disk/job-1/checkpoints" <<'CHECK'
import json, os, sys
manifests = 0
for folder, _, files in os.walk(sys.argv[1]):
    if "manifest.json" not in files:
        continue
    manifests += 1
    with open(os.path.join(folder, "manifest.json")) as manifest:
        for file in json.load(manifest)["files"]:
            size = os.path.getsize(os.path.join(folder, file["name"]))
            assert size == file["size_bytes"], (folder, file, size)
assert manifests, "no checkpoint is left"
print("every manifest holds:", manifests)
CHECK
