#!/usr/bin/env bash
# Puts an OpenID provider for tests into .tools/oidc: oidc-provider, which runs on Node. Only `make test-full` needs it.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$root/.tools/oidc
version=9.13.3
say() { printf 'setup: %s\n' "$*"; }

if [ "$(cat "$target/.complete" 2>/dev/null)" = "$version" ]; then
  say "oidc-provider $version is in place"
  exit 0
fi
if ! command -v npm >/dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "oidc-provider needs Node 20 or later with npm (Debian: apt-get install nodejs npm)" >&2
    exit 1
  fi
  say "Node and npm: installing"
  apt-get install -y -qq --no-install-recommends nodejs npm >/dev/null
fi
rm -rf "$target"
mkdir -p "$target"
say "oidc-provider $version: downloading"
npm install --prefix "$target" --silent --no-audit --no-fund --no-save --ignore-scripts "oidc-provider@$version"
echo "$version" >"$target/.complete"
say "oidc-provider $version: ready"
