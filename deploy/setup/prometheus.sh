#!/usr/bin/env bash
# Sees to it that Prometheus is there, which reads what a coordinator says of itself; installs it where it may.
set -euo pipefail

found() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }
if ! found && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  printf 'setup: installing Prometheus\n'
  # No service of the system's own is started: the check brings its own.
  printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d.kindred && chmod +x /usr/sbin/policy-rc.d.kindred
  had=; [ -e /usr/sbin/policy-rc.d ] && had=1 || ln -s policy-rc.d.kindred /usr/sbin/policy-rc.d
  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends prometheus >/dev/null || true
  [ -n "$had" ] || rm -f /usr/sbin/policy-rc.d
  rm -f /usr/sbin/policy-rc.d.kindred
fi
found || { printf 'setup: Prometheus is needed (Debian: apt-get install prometheus)\n' >&2; exit 1; }
