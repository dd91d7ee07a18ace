#!/bin/sh
# Reads a log on all workers, adds it up in the namespace "log", and asks about it.
# Start "farm dev" in another terminal first, or set FARM_ADDR.
#
#   FARM   the command to run, farm unless set
set -eu
farm=${FARM:-farm}
here=$(cd "$(dirname "$0")" && pwd)

# Damaged lines must not stop it: --max-failures tells them and goes on, with exit
# code 1 at the end.
code=0
awk -f "$here/generate.awk" | $farm map --id log --call Parse --fold log:Add --max-failures 10 "$here/loganalysis.go" || code=$?
[ "$code" -eq 1 ]

printf '\n# What could not be read, with what it was:\n'
$farm job failures log

printf '\n# The namespace has what was added up, for any question:\n'
$farm exec log 'Report()'
$farm exec log 'Trouble()'
