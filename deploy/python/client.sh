#!/usr/bin/env bash
# Generates a Python client from the .proto files alone, and lets it submit, watch and cancel a job over TLS.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/deploy/setup/grpc_python.sh"
cd "$root"
cargo build -p kindred-coordinator --bins --locked --quiet
programs=${CARGO_TARGET_DIR:-$root/target}/debug
work=$(mktemp -d)
coordinator=
stop() {
  [ -z "$coordinator" ] || { kill "$coordinator" && wait "$coordinator"; } || true
  rm -rf "$work"
}
trap stop EXIT

export PYTHONPATH=$root/.tools/grpc/packages:$work
python3 -m grpc_tools.protoc --proto_path=proto --python_out="$work" --grpc_python_out="$work" proto/kindred/v1/*.proto
"$programs/kindred-coordinator" --listen 127.0.0.1:0 --tls auto --state "$work/state" 2>"$work/coordinator.log" &
coordinator=$!
for _ in $(seq 100); do
  [ -s "$work/state/admin-token" ] && break
  sleep 0.1
done
python3 deploy/python/client.py "$(cat "$work/state/address")" "$work/state/tls/ca.pem" "$work/state/admin-token" ||
  { cat "$work/coordinator.log" >&2; exit 1; }
