package main

import "strings"

// examples are the command lines that the help of each verb shows. A test runs
// them, each in a folder that has the files of exampleFiles.
var examples = map[string][]string{
	"dev": {"farm dev", "farm dev -n 1 --dir /tmp/scratch"},
	"node": {"farm node --data /var/lib/farm --listen 10.0.0.1:7401 --raft 10.0.0.1:7400 --join 10.0.0.1:7401,10.0.0.2:7401,10.0.0.3:7401 --bootstrap-expect 3",
		"farm node --data /var/lib/farm --label gpu=1 --label zone=west"},
	"submit": {"farm submit -c '6*7'", "farm submit --ns sums --retries 2 hello.go", "farm submit --engine yaegi hello.go", "farm submit --file data.csv --arg column=3 hello.go",
		"farm submit --detach --delay 1h -c '1'", `farm submit --handler resize --json-input '{"file": "a.png"}'`, "farm submit --label gpu=1 hello.go",
		"farm submit --retries 5 --backoff 10s --deadline 1h hello.go", "farm submit --after 01ARZ3NDEKTSV4RRFFQ69G5FAV --after-finished -c '1'",
		"farm submit --queue mail --key example.org hello.go", "farm submit --unique report --unique-while 1h hello.go", "farm submit -o '{{.id}} took {{.attempt}} attempts' -c '1'"},
	"exec":        {"farm exec c0 'a := 10'", "farm exec --engine yaegi fresh 'a := 10'", "farm exec 'c{0..3}' 'len(xs)'"},
	"repl":        {"farm repl c0"},
	"map":         {"farm map --call Square --in numbers.jsonl squares.go", "farm map --call Square --fold sums:Add --in numbers.jsonl squares.go", "farm map --call Square --in numbers.jsonl --detach squares.go"},
	"set":         {"farm set c0 a 10", `farm set 'c{0..3}' words '["one", "two"]'`},
	"get":         {"farm get c0 a", "farm get --type c0 a", "farm get 'c*' a", "farm get -o '{{.namespace}}={{.value}}' 'c*' a"},
	"del":         {"farm del c0 a"},
	"scatter":     {"farm scatter 'c{0..3}' xs numbers.jsonl", "seq 100 | farm scatter 'c*' xs -"},
	"gather":      {"farm gather 'c{0..3}' xs", "farm gather --lines 'c*' xs"},
	"ns ls":       {"farm ns ls", "farm ns ls 'c*'"},
	"ns show":     {"farm ns show c0"},
	"ns rm":       {"farm ns rm c0", "farm ns rm 'c{0..3}'"},
	"ns history":  {"farm ns history c0"},
	"ns restore":  {"farm ns restore --version 3 c0"},
	"ns fork":     {"farm ns fork c0 experiment"},
	"ns export":   {"farm ns export c0 c0.farm"},
	"ns import":   {"farm ns import c1 saved.farm"},
	"task ls":     {"farm task ls", "farm task ls --state failed --limit 10", "farm task ls --queue mail --label gpu=1", "farm task ls -o '{{.id}} {{with .error}}{{.kind}}{{end}}'"},
	"task show":   {"farm task show 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"task cancel": {"farm task cancel 01ARZ3NDEKTSV4RRFFQ69G5FAV", "farm task cancel --queue mail"},
	"task retry":  {"farm task retry 01ARZ3NDEKTSV4RRFFQ69G5FAV", "farm task retry --queue mail", "farm task retry --all"},
	"task drop":   {"farm task drop 01ARZ3NDEKTSV4RRFFQ69G5FAV", "farm task drop --queue mail --state cancelled"},
	"task wait":   {"farm task wait --timeout 1m 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"logs":        {"farm logs 01ARZ3NDEKTSV4RRFFQ69G5FAV", "farm logs -f 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"cron add": {"farm cron add --tz Europe/Berlin nightly '30 2 * * *' hello.go", "farm cron add --catch-up one -c '6*7' sums '@every 90s'",
		`farm cron add --handler resize --json-input '{"file": "a.png"}' --queue images --unique resizing thumbs '@every 10m'`},
	"cron ls":      {"farm cron ls"},
	"cron show":    {"farm cron show nightly"},
	"cron pause":   {"farm cron pause nightly"},
	"cron resume":  {"farm cron resume nightly"},
	"cron rm":      {"farm cron rm nightly"},
	"cron run-now": {"farm cron run-now nightly"},
	"job ls":       {"farm job ls", "farm job ls --state running"},
	"job show":     {"farm job show 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"job wait":     {"farm job wait 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"job results":  {"farm job results 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"job failures": {"farm job failures 01ARZ3NDEKTSV4RRFFQ69G5FAV", "farm job failures --json 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"job retry":    {"farm job retry 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"job cancel":   {"farm job cancel 01ARZ3NDEKTSV4RRFFQ69G5FAV"},
	"queue ls":     {"farm queue ls", "farm queue ls -o '{{.name}} {{.waiting}}'"},
	"queue show":   {"farm queue show mail"},
	"queue pause":  {"farm queue pause mail"},
	"queue resume": {"farm queue resume mail"},
	"queue set": {"farm queue set --concurrency 4 --rate 10/s mail", "farm queue set --key-concurrency 1 --key-rate 100/m --key-burst 10 mail",
		"farm queue set --rate none mail"},
	"node ls":     {"farm node ls", "farm node ls -o '{{.id}} {{.applied}}'"},
	"node drain":  {"farm node drain n1", "farm node drain --undo n1"},
	"node remove": {"farm node remove n3"},
	"status":      {"farm status", "farm status -o '{{.tasks.queued}} queued'"},
	"bench":       {"farm bench", "farm bench --only cell,set --seconds 5 --json"},
	"chaos":       {"farm chaos", "farm chaos --scenario nodes,pauses --minutes 5", "farm chaos --list"},
	"verify":      {"farm verify /var/lib/farm"},
	"completion":  {"source <(farm completion bash)", "farm completion fish | source", "farm completion zsh >\"${fpath[1]}/_farm\""},
	"version":     {"farm version"},
}

// withExamples adds the examples of a verb to what is said of it.
func withExamples(path, description string) string {
	lines := examples[path]
	if len(lines) == 0 {
		return description
	}
	title := "Example:"
	if len(lines) > 1 {
		title = "Examples:"
	}
	return strings.TrimSpace(description + "\n\n" + title + "\n  " + strings.Join(lines, "\n  "))
}
