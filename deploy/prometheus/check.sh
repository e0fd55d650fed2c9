#!/usr/bin/env bash
# A real Prometheus scrapes a real coordinator: the alert rules are read, and each query of rules and dashboard names what is there.
#
# Needs `cargo build -p kindred-coordinator --bins`, and prometheus with promtool (deploy/setup/prometheus.sh).
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}/${PROFILE:-debug}
folder=$(mktemp -d)
pids=()
end() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$folder"
}
trap end EXIT

promtool check rules deploy/prometheus/alerts.yaml
"$target/kindred-coordinator" --listen 127.0.0.1:0 --state "$folder/coordinator" 2>"$folder/coordinator.log" &
pids+=($!)
for _ in $(seq 100); do [ -s "$folder/coordinator/address" ] && break; sleep 0.1; done
address=$(cat "$folder/coordinator/address")
web=$(cat "$folder/coordinator/web")
# A job that waits: it has a series of its own.
"$target/kindred" --coordinator "$address" submit deploy/jobs/sce-fashion-mnist.yaml >/dev/null
curl -sSf "$web/metrics" >"$folder/metrics.txt"
grep -q '^kindred_pending_devices{kind="cpu",queue="default"} 2' "$folder/metrics.txt"

cp deploy/prometheus/alerts.yaml "$folder"
cat >"$folder/prometheus.yaml" <<EOF
scrape_configs:
  - job_name: kindred
    scrape_interval: 1s
    static_configs: [{targets: ["${web#http://}"]}]
rule_files: [alerts.yaml]
EOF
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
prometheus --config.file="$folder/prometheus.yaml" --storage.tsdb.path="$folder/data" \
  --web.listen-address="127.0.0.1:$port" 2>"$folder/prometheus.log" &
pids+=($!)
python3 deploy/prometheus/check.py "http://127.0.0.1:$port" "$folder/metrics.txt"
