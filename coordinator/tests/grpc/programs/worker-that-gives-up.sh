#!/bin/sh
# Stands in for a kindred-worker that cannot work.
echo no rank program
exit 7
