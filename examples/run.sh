#!/bin/sh
# Runs every example on a local farm of its own in a temporary folder, and
# removes both.
#
#   FARM   the command to run, farm unless set; an absolute path or in PATH
set -eu
FARM=${FARM:-farm}
export FARM
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
cd "$dir"

"$FARM" dev >dev.log 2>&1 &
dev=$!
worker=
stop() {
	if [ -n "$worker" ]; then kill "$worker" 2>/dev/null || :; fi
	kill "$dev" 2>/dev/null || :
	wait "$dev" 2>/dev/null || :
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT TERM

# farm dev writes this file when its nodes are ready.
tries=0
until [ -s .farm/cluster.json ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 300 ] || ! kill -0 "$dev" 2>/dev/null; then
		echo "farm dev did not start:" >&2
		cat dev.log >&2
		exit 1
	fi
	sleep 0.1
done

echo "== wordcount"
"$FARM" map --call Count --fold total:Merge --in "$here/wordcount/texts.jsonl" "$here/wordcount/wordcount.go"
echo "== pi"
"$FARM" map --call Samples --fold pi:Add --in "$here/pi/seeds.jsonl" "$here/pi/pi.go"
echo "== contexts"
sh "$here/contexts/run.sh"
echo "== crawler-sim"
"$FARM" map --call Start --fold crawled:Add --in "$here/crawler-sim/start.jsonl" "$here/crawler-sim/crawler.go"
echo "== thumbnails"
(cd "$here" && go build -o "$dir/thumbnails" ./thumbnails)
FARM_ADDR=$("$FARM" node ls -o '{{.api}}' | paste -s -d, -)
export FARM_ADDR
./thumbnails generate pictures
./thumbnails work 2>thumbnails.log &
worker=$!
./thumbnails make pictures small
kill "$worker"
wait "$worker"
echo "== loganalysis"
sh "$here/loganalysis/run.sh"
echo "== etl"
sh "$here/etl/run.sh"
echo "== regression"
# Farms of its own, one after the other, in a folder that has none.
(mkdir regression.farm && cd regression.farm && sh "$here/regression/run.sh")
echo "== sweep"
# A module of its own, which brings its own farm.
(cd "$here/sweep" && go vet . && go build -o "$dir/sweep" .)
./sweep -dir sweep.farm -out sweep.svg
./sweep -dir sweep.farm -out sweep.svg | head -n 1
grep -c '<path' sweep.svg
