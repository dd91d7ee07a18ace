#!/bin/sh
# A nightly load of orders in four steps, of which one fails and is mended.
#
#   FARM   the command to run, farm unless set; an absolute path or in PATH
set -eu
FARM=${FARM:-farm}
here=$(cd "$(dirname "$0")" && pwd)

# The steps are functions of the namespace. All are submitted at once; each runs when the
# one before has succeeded.
"$FARM" submit --ns orders "$here/etl.go"
step() { "$FARM" submit --queue etl --ns orders --detach "$@"; }
step --id extract --file "$here/orders.csv" -c 'Extract()'
step --id clean --after extract -c 'Clean()'
step --id load --after clean --retries 3 --backoff 200ms -c 'Load()'
step --id report --after load -c 'Report()'

# Order 1006 has no price. The steps after it have failed as well, without being run.
"$FARM" task wait report || echo "the load did not come to its end"
"$FARM" task ls --queue etl --state failed -o '{{.id}}: {{.error.message}}'
"$FARM" queue show -o 'queue {{.name}}: {{.parked}} parked' etl

# Somebody looks the price up, and has everything that failed tried again.
"$FARM" exec orders 'corrections["1006"] = "11.20"'
"$FARM" task retry --queue etl
"$FARM" task wait report
"$FARM" logs report
"$FARM" task show -o 'load took {{.attempt}} attempts' load
