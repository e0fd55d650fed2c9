#!/usr/bin/env bash
# Renewals of leases beside the heartbeats of torchft's lighthouse, in turns. Exit code 0 whatever was measured.
#
#   deploy/bench/lighthouse.sh [ROUNDS] [SECONDS]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
version=0.2.0
packages=.tools/torchft-$version
state=.kindred/bench-lighthouse/$(date +%Y%m%d-%H%M%S)
if [ ! -e "$packages/.complete" ]; then
  rm -rf "$packages"
  # Its lighthouse is a compiled module; PyTorch, which the rest of it needs, is not installed.
  python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --no-deps \
    --target "$packages" "torchft==$version"
  touch "$packages/.complete"
fi
mkdir -p "$state"
trap 'rm -rf "$state"' EXIT
cargo build --release --locked --quiet -p kindred-coordinator --bin kindred-coordinator --example bench_agents
ulimit -n "$(ulimit -Hn)"
target=${CARGO_TARGET_DIR:-target}/release
"$target/examples/bench_agents" "$target/kindred-coordinator" "$state" beside deploy/bench/lighthouse.py "$packages" "$@"
