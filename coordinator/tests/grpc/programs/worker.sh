#!/bin/sh
# Stands in for kindred-worker: says how it was started, and good-bye when it is asked to stop.
trap 'echo bye; exit 0' TERM
echo "started with $*"
while :; do sleep 0.05; done
