#!/usr/bin/env bash
# Sees to it that Prometheus is there, which reads what a coordinator says of itself; installs it where it may.
set -euo pipefail

found() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }
if ! found && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  printf 'setup: installing Prometheus\n'
  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends prometheus >/dev/null
  # The check brings a server of its own; the system's is not needed.
  if command -v systemctl >/dev/null; then systemctl disable --now prometheus >/dev/null 2>&1 || true; fi
fi
found || { printf 'setup: Prometheus is needed (Debian: apt-get install prometheus)\n' >&2; exit 1; }
