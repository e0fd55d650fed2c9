#!/usr/bin/env bash
# What needs more time than `make test` has, or servers: 200 kills of a coordinator, 5 of a leader (PostgreSQL), 1,000 seeds of the simulation, an outage of 30 s,
# 20 random faults, a long fuzz of every RPC, a Python client, a real OpenID provider, methods on 4 ranks, libjpeg-turbo, checkpoints on S3, and the CUDA build, linked to the
# real NCCL, up to "no GPUs found".
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
step() { printf '\n== %s\n' "$*"; }

step "200 kills of a coordinator under load"
cargo build --workspace --bins --locked --quiet
KINDRED_KILLS=200 cargo test --workspace --locked --test grpc -- --nocapture no_acknowledged_job_is_lost_over_kills

step "journal, metrics and logs in PostgreSQL; 5 kills of the leader of two coordinators"
deploy/setup/postgres.sh
export KINDRED_REQUIRE_POSTGRES=1
cargo test --workspace --locked --lib -- postgres
KINDRED_FAILOVERS=5 deploy/bench/failover.sh

step "the dashboard in Chromium"
deploy/setup/browser.sh
KINDRED_REQUIRE_BROWSER=1 cargo test --workspace --locked --test browser

step "a real Prometheus reads /metrics, rules and dashboard"
deploy/setup/prometheus.sh
deploy/prometheus/check.sh

step "1,000 random schedules of faults"
KINDRED_SIMULATE_SEEDS=1000 deploy/simulate.sh

step "the coordinator is away for 30 s"
cargo build --workspace --bins --locked --quiet
KINDRED_OUTAGE_SECONDS=30 cargo test --workspace --locked --test e2e -- training_goes_on

step "every RPC with 500 messages each that nobody should send"
KINDRED_FUZZ_CASES=500 cargo test --workspace --locked --test grpc -- fuzz

step "a Python client of the .proto files alone"
deploy/python/client.sh

step "sign-in at a real OpenID provider"
deploy/oidc/sign_in.sh

step "20 random faults on a live cluster"
deploy/chaos.sh

step "the contract of every method on 2 and 4 ranks"
KINDRED_CONTRACT_FULL=1 cargo test --workspace --locked --test contract

step "JPEG by libjpeg-turbo, built from its sources"
deploy/setup/turbojpeg.sh
PATH=$root/.tools/turbojpeg/bin:$PATH TURBOJPEG_SOURCE=vendor cargo test -p kindred-data --features turbojpeg --locked --lib

step "checkpoints on a real S3 server, through faults"
deploy/setup/moto.sh
cargo test --workspace --features kindred-tests/s3 --locked --test s3

step "Slurm: a job whose nodes are taken ends with the same bits"
deploy/setup/slurm.sh
cargo test --workspace --features kindred-tests/slurm --locked --test slurm

step "systemd's own checks of the units"
deploy/systemd/check.sh

step "the Helm chart, rendered and held against the schemas of Kubernetes"
deploy/setup/helm.sh
deploy/helm/check.sh

step "the CUDA build"
deploy/cuda.sh
