#!/usr/bin/env bash
# Holds the units against systemd's own checks: that it understands every line, and how much a service could do that was taken over.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
fail() { printf 'systemd: %s\n' "$*" >&2; exit 1; }
command -v systemd-analyze >/dev/null || { printf 'systemd: systemd-analyze is not here: the units are not checked\n'; exit 0; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Programs need not be installed where the units are checked.
mkdir -p "$folder/bin"
for program in kindred-coordinator kindred-worker; do
  printf '#!/bin/sh\n' >"$folder/bin/$program"
  chmod +x "$folder/bin/$program"
  sed "s#/usr/local/bin/#$folder/bin/#" "$program.service" >"$folder/$program.service"
done
said=$(systemd-analyze verify --man=no "$folder"/*.service 2>&1 | grep -F kindred || true)
[ -z "$said" ] || fail "$said"
# 0 is a service that can do nothing, 10 one that can do everything. A worker reaches GPUs and the network.
for bound in kindred-coordinator:20 kindred-worker:35; do
  unit=${bound%:*}
  systemd-analyze security --offline=true --threshold="${bound#*:}" --no-pager "$folder/$unit.service" >"$folder/exposure" ||
    { cat "$folder/exposure"; fail "$unit.service may do more than ${bound#*:} tenths"; }
  tail -n 1 "$folder/exposure"
done
