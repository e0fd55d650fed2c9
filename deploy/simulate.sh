#!/usr/bin/env bash
# The simulation (tests/simulation): KINDRED_SIMULATE_SEEDS seeds, or the one of KINDRED_SIMULATE_SEED.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo test --locked --quiet --workspace --test simulation -- --nocapture random_faults_break_nothing
