#!/usr/bin/env bash
# Builds Kindred's programs and puts what each image holds into a folder of OUT (/out): coordinator, libtorch, worker.
#
#   deploy/images/programs.sh [cpu|cuda]
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
profile=${1:-cpu}
out=${OUT:-/out}
export LIBTORCH=$PWD/.libtorch/$profile
features=()
case $profile in
  cpu) ;;
  cuda) features=(--features cuda) ;;
  *) printf 'programs: unknown profile %s: cpu or cuda\n' "$profile" >&2; exit 2 ;;
esac

deploy/static.sh
cargo build --release --locked --bins -p kindred-worker "${features[@]}"

static=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release
dynamic=${CARGO_TARGET_DIR:-target}/release
put() { # FOLDER PROGRAM
  install -D -s -m 755 "$2" "$out/$1/usr/local/bin/$(basename "$2")"
}
rm -rf "$out"
for program in kindred kindred-coordinator; do put coordinator "$static/$program"; done
for program in kindred kindred-worker; do put worker "$static/$program"; done
put worker "$dynamic/kindred-rank"
mkdir -p "$out/libtorch/usr/local/lib/kindred"
cp -a "$LIBTORCH"/lib/*.so* "$out/libtorch/usr/local/lib/kindred/"

# An image without a system: its authorities, a place for what is temporary, and the state folder of its user.
install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$out/coordinator/etc/ssl/certs/ca-certificates.crt"
install -d -m 1777 "$out/coordinator/tmp"
install -d -m 700 -o 65532 -g 65532 "$out/coordinator/var/lib/kindred"
