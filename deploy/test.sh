#!/usr/bin/env bash
# Every hermetic check and test: no root, no network beyond the set-up, no GPU.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
started=$SECONDS
deploy/check.sh
printf '\n== build\n'
# The end-to-end tests start the real programs.
cargo build --workspace --bins --locked --quiet
printf '\n== tests\n'
cargo test --workspace --locked --no-fail-fast
printf '\nall tests passed in %d s\n' $((SECONDS - started))
