#!/usr/bin/env bash
# Sees to it that PostgreSQL's programs are there, which tests start a server of their own with; installs them where it may.
set -euo pipefail

found() {
  [ -n "${KINDRED_POSTGRES_BIN:-}" ] || command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}
if ! found && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  printf 'setup: installing PostgreSQL\n'
  # No server of the system's own is started: tests bring theirs.
  mkdir -p /etc/postgresql-common
  grep -qs '^create_main_cluster' /etc/postgresql-common/createcluster.conf ||
    echo 'create_main_cluster = false' >>/etc/postgresql-common/createcluster.conf
  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends postgresql >/dev/null
fi
found || { printf 'setup: PostgreSQL is needed (Debian: apt-get install postgresql), or KINDRED_POSTGRES_BIN=FOLDER\n' >&2; exit 1; }
