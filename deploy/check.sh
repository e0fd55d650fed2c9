#!/usr/bin/env bash
# Format, lints, documentation, dependencies and scripts: everything that finds faults without running the code.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --all --check
step "lints (warnings are errors)"
cargo clippy --workspace --all-targets --features kindred-tests/s3,kindred-tests/slurm --locked --quiet -- -D warnings
step "documentation (warnings are errors)"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet --document-private-items
step "dependencies: licences, sources, bans"
.tools/bin/cargo-deny --locked check --hide-inclusion-graph bans licenses sources
step "scripts parse"
find deploy .ci \( -name '*.sh' -o -name '*.sbatch' \) -print0 | xargs -0 -n 1 bash -n
bash -n .ci/run
