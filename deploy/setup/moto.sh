#!/usr/bin/env bash
# Puts an S3 server for tests into .tools/moto: moto, which is a Python program. Only `make test-full` needs it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
moto=$root/.tools/moto
version=5.2.5
say() { printf 'setup: %s\n' "$*"; }

if [ "$(cat "$moto/.complete" 2>/dev/null)" = "$version" ]; then
  say "moto $version is in place"
  exit 0
fi
rm -rf "$moto"
mkdir -p "$moto"
say "moto $version: downloading"
# A folder of packages needs neither venv (Debian's python3-venv) nor root.
python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --no-compile \
  --target "$moto/packages" "moto[server,s3]==$version"
echo "$version" >"$moto/.complete"
say "moto $version: ready"
