#!/usr/bin/env bash
# A job on four ranks, met by KINDRED_CHAOS_FAULTS random faults (20) from the seed KINDRED_CHAOS_SEED (1), beside one that is not: both
# must end with the same bits.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --workspace --bins --locked --quiet
KINDRED_CHAOS_FAULTS=${KINDRED_CHAOS_FAULTS:-20} \
  cargo test --locked --quiet --workspace --test e2e -- --nocapture random_faults_do_not_change_a_bit
