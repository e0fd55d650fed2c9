#!/usr/bin/env bash
# Puts libtorch 2.13 into .libtorch/PROFILE of this checkout.
#
#   deploy/setup/libtorch.sh [cpu|cuda]
#
# `cpu` (default) keeps the few libraries that a CPU build needs; `cuda` keeps the whole wheel with the CUDA
# libraries and headers. Nothing happens when the folder is complete already, or when LIBTORCH is set.
set -euo pipefail

profile=${1:-cpu}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$root/.libtorch/$profile
torch_version=2.13.0
cuda_series=13.0
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

case $profile in cpu | cuda) ;; *) fail "unknown profile '$profile': use cpu or cuda" ;; esac
if [ -n "${LIBTORCH:-}" ] && [ "$LIBTORCH" != "$target" ]; then
  [ -f "$LIBTORCH/lib/libtorch_cpu.so" ] || fail "LIBTORCH is set to $LIBTORCH, but lib/libtorch_cpu.so is not there"
  say "libtorch: LIBTORCH is set, using $LIBTORCH"
  exit 0
fi
if [ "$(cat "$target/.complete" 2>/dev/null)" = "$torch_version" ]; then
  say "libtorch $torch_version ($profile) is in place"
  exit 0
fi
python3 -m pip --version >/dev/null 2>&1 || fail "python3 with pip is needed (Debian: apt-get install python3-pip)"
[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
  fail "only Linux on x86-64 is packaged; set LIBTORCH to a folder with libtorch $torch_version"

packages=("torch==$torch_version")
no_deps=--no-deps
if [ "$profile" = cpu ]; then
  packages+=("nvidia-cuda-runtime==$cuda_series.*" "nvidia-cuda-cupti==$cuda_series.*")
else
  no_deps=
  packages+=("nvidia-cuda-crt==$cuda_series.*" "nvidia-cuda-cccl==$cuda_series.*")
fi
work=$root/.libtorch/.$profile.partial
rm -rf "$work" "$target"
mkdir -p "$work/wheels"
trap 'rm -rf "$work"' EXIT

say "libtorch $torch_version ($profile): downloading (cpu about 550 MB, cuda about 2.5 GB)"
bar=off
[ -t 1 ] && bar=on
python3 -m pip download $no_deps --only-binary=:all: --disable-pip-version-check --progress-bar "$bar" \
  -d "$work/wheels" "${packages[@]}" | sed -u 's/^/setup:   /' || fail "the download failed: see above"

say "libtorch $torch_version ($profile): unpacking"
python3 "$root/deploy/setup/libtorch_unpack.py" "$profile" "$work/wheels" "$work/tree"
mv "$work/tree" "$target"
echo "$torch_version" >"$target/.complete"
say "libtorch $torch_version ($profile): ready in ${target#"$root"/}"
