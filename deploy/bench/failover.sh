#!/usr/bin/env bash
# Kills the leader of two coordinators on one PostgreSQL database under load, KINDRED_FAILOVERS times (50), and prints how soon the other
# one took over. Fails when an acknowledged job is lost or run twice, a take-over takes longer than 5 s, or a job that runs stops.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --workspace --bins --locked --quiet
cargo build --workspace --example fake_rank --locked --quiet
KINDRED_FAILOVERS=${KINDRED_FAILOVERS:-50} KINDRED_REQUIRE_POSTGRES=1 \
  cargo test --workspace --locked --quiet --test failover -- --nocapture
