#!/bin/sh
# Extract, convert, report: a chain of tasks, of which one fails at first. Start
# "farm dev" in another terminal first, or set FARM_ADDR.
#
#   FARM   the command to run, farm unless set
#   DAY    whose orders, 2026-01-31 unless set
set -eu
farm=${FARM:-farm}
here=$(cd "$(dirname "$0")" && pwd)
night=orders.${DAY:-2026-01-31}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
awk -f "$here/generate.awk" >"$dir/orders.csv"

say() { printf '\n# %s\n' "$*"; }

say "The rates of the day, of which one has not come in yet, and the steps."
$farm set "$night" rates '{"EUR": 1.0, "USD": 0.84, "GBP": 1.15}'
$farm submit --ns "$night" "$here/etl.go"

say "The chain. The ids name the night: the same command again submits nothing twice."
$farm submit --detach --ns "$night" --id "$night.extract" --file "$dir/orders.csv" --retries 3 -c 'Extract()'
$farm submit --detach --ns "$night" --id "$night.convert" --after "$night.extract" -c 'Convert()'
$farm submit --detach --ns "$night" --id "$night.report" --after "$night.convert" -c 'Report()'
$farm submit --detach --id "$night.over" --after "$night.report" --after-finished -c '"the night is over"'

say "A step fails; what runs after it fails with it, what runs after its end runs."
if ! $farm task wait "$night.report"; then
	$farm task wait "$night.over"
	$farm task ls --ns "$night" --state failed -o '{{.id}}: {{.error.message}}'

	say "The rate comes in. What failed is tried again, in order, and nothing else."
	$farm set "$night" rates '{"EUR": 1.0, "USD": 0.84, "GBP": 1.15, "CHF": 1.07}'
	$farm task retry --all --ns "$night"
fi

say "What was sold, and the sum in cents."
$farm logs -f "$night.report"
$farm task wait "$night.convert"
