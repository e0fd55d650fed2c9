#!/usr/bin/env bash
# Installs Kindred's programs and units on this host. Safe to repeat: what /etc/kindred holds already stays.
#
#   deploy/systemd/install.sh cli|coordinator|worker ...
#
# PROGRAMS (target/release) holds the programs, LIBTORCH (.libtorch/cpu) the libraries of a worker's ranks. ROOT is put before every
# path, for packages and images; then no user is made and systemd is not told.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
units=$repository/deploy/systemd
programs=${PROGRAMS:-$repository/target/release}
libtorch=${LIBTORCH:-$repository/.libtorch/cpu}
root=${ROOT:-}
say() { printf 'install: %s\n' "$*"; }
fail() { printf 'install: %s\n' "$*" >&2; exit 2; }

program() {
  [ -x "$programs/$1" ] || fail "PROGRAMS: there is no program $programs/$1: build it, or name its folder"
  # Beside the old one, then renamed: one that runs goes on with what it is.
  install -D -m 755 "$programs/$1" "$root/usr/local/bin/$1.new"
  mv "$root/usr/local/bin/$1.new" "$root/usr/local/bin/$1"
}

service() {
  install -D -m 644 "$units/kindred-$1.service" "$root/etc/systemd/system/kindred-$1.service"
  # Tokens and passwords may stand in it.
  [ -e "$root/etc/kindred/$1.env" ] || install -D -m 600 "$units/$1.env" "$root/etc/kindred/$1.env"
}

libraries() {
  [ -e "$libtorch/lib/libtorch_cpu.so" ] || fail "LIBTORCH: there is no $libtorch/lib/libtorch_cpu.so"
  mkdir -p "$root/usr/local/lib/kindred"
  cp -a "$libtorch"/lib/*.so* "$root/usr/local/lib/kindred/"
}

user() {
  [ -z "$root" ] || return 0
  id kindred >/dev/null 2>&1 || useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin kindred
}

[ $# -gt 0 ] || fail "say what this host is: cli, coordinator, worker, or several of them"
for part in "$@"; do
  case $part in cli | coordinator | worker) ;; *) fail "unknown part '$part': cli, coordinator or worker" ;; esac
done
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "root is needed to write /usr/local and /etc"

for part in "$@"; do
  case $part in
    cli) program kindred ;;
    coordinator) program kindred-coordinator; service coordinator; user ;;
    worker) program kindred-worker; program kindred-rank; libraries; service worker; user ;;
  esac
  say "$part is installed"
done
if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
for part in "$@"; do
  [ "$part" = cli ] || say "next: edit $root/etc/kindred/$part.env, then systemctl enable --now kindred-$part"
done
