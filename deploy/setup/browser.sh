#!/usr/bin/env bash
# Sees to it that Chromium and its driver are there, for the tests of the dashboard; installs them where it may.
set -euo pipefail

found() { [ -n "${KINDRED_CHROMEDRIVER:-}" ] || command -v chromedriver >/dev/null; }
if ! found && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  printf 'setup: installing Chromium\n'
  apt-get update -q >/dev/null &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium chromium-driver fonts-dejavu-core >/dev/null
fi
found || { printf 'setup: Chromium is needed (Debian: apt-get install chromium chromium-driver), or KINDRED_CHROMEDRIVER=PROGRAM\n' >&2; exit 1; }
