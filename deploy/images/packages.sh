#!/bin/sh
# The system's packages of an image: what the build needs, or what a worker runs on, and the user that it runs as.
#
#   deploy/images/packages.sh build|run
set -eu

case ${1:-} in
  # Python fetches libtorch and unpacks it.
  build) packages="g++ make binutils ca-certificates python3 python3-pip git" ;;
  # libtorch brings its own OpenMP.
  run) packages="libstdc++6 ca-certificates" ;;
  *) echo "packages: say build or run" >&2; exit 2 ;;
esac
apt-get update -q
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages
rm -rf /var/lib/apt/lists/*
if [ "$1" = run ]; then
  groupadd --system --gid 65532 kindred
  useradd --system --uid 65532 --gid 65532 --home-dir /var/lib/kindred --shell /usr/sbin/nologin kindred
  install -d -m 700 -o kindred -g kindred /var/lib/kindred
  rm -f "$0"
fi
