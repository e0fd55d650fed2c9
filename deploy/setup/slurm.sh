#!/usr/bin/env bash
# Sees to it that Slurm's and MUNGE's programs are there, which a test starts servers of its own with; installs them where it may.
set -euo pipefail

found() {
  for program in munged slurmctld slurmd; do [ -x "/usr/sbin/$program" ] || return 1; done
  command -v sbatch >/dev/null
}
if ! found && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  printf 'setup: installing Slurm\n'
  # No server of the system's own is started: tests bring theirs.
  policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && trap 'rm -f "$policy"' EXIT; }
  apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends munge slurmctld slurmd slurm-client >/dev/null
fi
found || { printf 'setup: Slurm is needed (Debian: apt-get install munge slurmctld slurmd slurm-client)\n' >&2; exit 1; }
