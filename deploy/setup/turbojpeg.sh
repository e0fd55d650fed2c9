#!/usr/bin/env bash
# Puts cmake and nasm into .tools/turbojpeg, which build libjpeg-turbo for the feature `turbojpeg`. Only `make test-full` needs them.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$root/.tools/turbojpeg
cmake=cmake==4.4.5
say() { printf 'setup: %s\n' "$*"; }

if [ "$(cat "$folder/.complete" 2>/dev/null)" = "$cmake" ]; then
  say "cmake and nasm are in place"
  exit 0
fi
rm -rf "$folder"
mkdir -p "$folder/bin"
say "cmake and nasm: downloading"
python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile --target "$folder/python" "$cmake"
ln -s ../python/cmake/data/bin/cmake "$folder/bin/cmake"
if nasm=$(command -v nasm); then
  ln -s "$nasm" "$folder/bin/nasm"
else
  command -v apt-get >/dev/null || { say "nasm is needed" >&2; exit 1; }
  # apt drops root's rights for downloads.
  (cd "$folder" && apt-get -qq -o Debug::NoLocking=1 -o APT::Sandbox::User=root download nasm && dpkg-deb -x nasm_*.deb nasm && rm nasm_*.deb)
  ln -s ../nasm/usr/bin/nasm "$folder/bin/nasm"
fi
"$folder/bin/cmake" --version | head -1
"$folder/bin/nasm" -v
echo "$cmake" >"$folder/.complete"
say "cmake and nasm: ready"
