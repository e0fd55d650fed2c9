#!/usr/bin/env bash
# A coordinator under up to 10,000 agents in another process, and how it grows up to there. Exit code 0 whatever was measured.
#
#   deploy/bench/agents.sh [SECONDS] [AGENTS]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
state=.kindred/bench-agents/$(date +%Y%m%d-%H%M%S)
mkdir -p "$state"
trap 'rm -rf "$state"' EXIT
cargo build --release --locked --quiet -p kindred-coordinator --bin kindred-coordinator --example bench_agents
ulimit -n "$(ulimit -Hn)"
target=${CARGO_TARGET_DIR:-target}/release
"$target/examples/bench_agents" "$target/kindred-coordinator" "$state" "$@"
