#!/usr/bin/env bash
# Builds `kindred`, `kindred-coordinator` and `kindred-worker` without any shared library: they run on every Linux of this processor.
# Only `kindred-rank` cannot be built so, since libtorch is shared libraries.
#
# The C library is glibc's, linked statically, so no further Rust target is needed. Names are looked up in /etc/hosts and by DNS then; other
# sources of nsswitch.conf (LDAP, mDNS) need the same glibc installed.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}/$target/release
fail() { printf 'static: %s\n' "$*" >&2; exit 1; }

# With a target that is named, build scripts and macros, which run here, are built as ever.
RUSTFLAGS="-C target-feature=+crt-static ${RUSTFLAGS:-}" \
  cargo build --release --locked --bins --target "$target" -p kindred-coordinator -p kindred-agent
for program in kindred kindred-coordinator kindred-worker; do
  if readelf -ld "$folder/$program" | grep -qE 'NEEDED|INTERP'; then
    fail "$folder/$program needs shared libraries"
  fi
  "$folder/$program" --version
done
