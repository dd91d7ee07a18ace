package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/label"
	"farm/namespace"
	"farm/tasks"
)

// completeTimeout bounds what a press of the Tab key may wait for a farm.
const completeTimeout = 500 * time.Millisecond

// maxCompletions is how many ids of tasks or jobs are offered.
const maxCompletions = 100

// scripts make a shell ask "farm __complete" for what may follow. When it answers
// nothing they offer files.
var scripts = map[string]string{
	"bash": `# farm completion for bash: source <(farm completion bash)
_farm() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _farm farm
`,
	"zsh": `#compdef farm
# farm completion for zsh: source <(farm completion zsh)
_farm() {
    local line
    local -a found
    while IFS= read -r line; do
        local name=${line%%$'\t'*}
        found+=("${name//:/\\:}:${line#*$'\t'}")
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe farm found
    else
        _files
    fi
}
if [ "$funcstack[1]" = _farm ]; then _farm "$@"; else compdef _farm farm; fi
`,
	"fish": `# farm completion for fish: farm completion fish | source
function __farm_complete
    set -l words (commandline -opc)
    set -l found ($words[1] __complete -- $words[2..] (commandline -ct) 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete -c farm -f -a '(__farm_complete)'
`,
}

func (a *app) completionCommand() *cli.Command {
	shells := strings.Join(slices.Sorted(maps.Keys(scripts)), ", ")
	return &cli.Command{
		Name: "completion", Usage: "print a script with which a shell completes farm's command lines", UsageText: "farm completion SHELL",
		Description: "SHELL is one of " + shells + ". Verbs and flags are completed, and the names of namespaces, variables, tasks,\n" +
			"jobs and nodes when a farm is running.",
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			script, ok := scripts[args[0]]
			if !ok {
				return usage("completion: there is none for %q: %s", args[0], shells)
			}
			fmt.Fprint(a.io.out, script)
			return nil
		},
	}
}

// completeCommand is what the scripts call: with the words after "farm", of which
// the last is the one to complete.
func (a *app) completeCommand() *cli.Command {
	return &cli.Command{
		Name: "__complete", Hidden: true, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) > 0 && words[0] == "--" {
				words = words[1:]
			}
			if len(words) == 0 {
				words = []string{""}
			}
			ctx, cancel := context.WithTimeout(c.Context, completeTimeout)
			defer cancel()
			for _, x := range a.completions(ctx, c.App.Commands, words) {
				fmt.Fprintf(a.io.out, "%s\t%s\n", x.text, x.about)
			}
			return nil
		},
	}
}

// completion is one text that may be meant.
type completion struct{ text, about string }

// argKinds says what the arguments of verbs are; the last one counts for all that
// follow. What is not there, or "", is files or nothing.
var argKinds = map[string][]string{
	"exec": {"ns", ""}, "repl": {"ns", ""}, "set": {"ns", "key", ""}, "get": {"ns", "key", ""}, "del": {"ns", "key", ""},
	"scatter": {"ns", "key", ""}, "gather": {"ns", "key", ""},
	"ns ls": {"ns"}, "ns show": {"ns"}, "ns rm": {"ns"}, "ns history": {"ns"}, "ns restore": {"ns"}, "ns fork": {"ns", ""}, "ns export": {"ns", ""},
	"task show": {"task"}, "task cancel": {"task"}, "task wait": {"task"}, "task retry": {"task"}, "task drop": {"task"}, "logs": {"task"},
	"cron show": {"cron"}, "cron pause": {"cron"}, "cron resume": {"cron"}, "cron rm": {"cron"}, "cron run-now": {"cron"},
	"job show": {"job"}, "job wait": {"job"}, "job results": {"job"}, "job failures": {"job"}, "job retry": {"job"}, "job cancel": {"job"},
	"queue show": {"queue"}, "queue pause": {"queue"}, "queue resume": {"queue"}, "queue set": {"queue"},
	"node remove": {"node"}, "node drain": {"node"}, "completion": {"shell"}, "help": {"verb"},
}

// flagKinds says the same of the values of flags, after their verb where it matters.
var flagKinds = map[string]string{
	"ns": "ns", "job": "job", "queue": "queue", "unique-while": "while", "engine": "engine", "handler": "handler", "submit label": "label", "cron add label": "label", "task ls label": "label", "task retry label": "label", "task drop label": "label", "task cancel label": "label", "task ls state": "task state", "task retry state": "parked state", "task drop state": "parked state", "task cancel state": "live state", "after": "task", "cron add catch-up": "catch up", "job ls state": "job state", "log-store": "log store", "log-level": "log level",
}

// words that are always the same.
var fixedWords = map[string][]string{
	"shell":        slices.Sorted(maps.Keys(scripts)),
	"task state":   {"queued", "running", "succeeded", "failed", "cancelled"},
	"catch up":     {"none", "one", "all"},
	"parked state": {"failed", "cancelled"},
	"live state":   {"queued", "running"},
	"engine":       namespace.Engines(),
	"job state":    jobStates,
	"log store":    {"wal", "boltdb"},
	"log level":    {"debug", "info", "warn", "error"},
	"while":        {"queued", "running"},
}

// completions are what the last word may become.
func (a *app) completions(ctx context.Context, commands []*cli.Command, words []string) []completion {
	l := line{commands: commands}
	for _, w := range words[:len(words)-1] {
		l.take(w)
	}
	last := words[len(words)-1]
	var out []completion
	switch {
	case l.value != nil:
		name := l.value.Names()[0]
		out = a.named(ctx, &l, cmp.Or(flagKinds[l.path+" "+name], flagKinds[name]), last)
	case strings.HasPrefix(last, "-") && len(l.args) == 0 && !l.over:
		out = flagCompletions(l.flags)
	case len(l.args) == 0 && len(l.commands) > 0:
		out = verbCompletions(l.commands)
	default:
		kinds := argKinds[l.path]
		if len(kinds) > 0 {
			out = a.named(ctx, &l, kinds[min(len(l.args), len(kinds)-1)], last)
		}
	}
	return slices.DeleteFunc(out, func(x completion) bool { return !strings.HasPrefix(x.text, last) })
}

// line is what the words before the last one say.
type line struct {
	commands []*cli.Command // that may come next
	path     string         // of the verb
	flags    []cli.Flag     // of the verb
	args     []string
	value    cli.Flag // whose value comes next
	addr     string
	over     bool // no more flags
}

func (l *line) take(w string) {
	switch {
	case l.value != nil:
		if l.value.Names()[0] == "addr" {
			l.addr = w
		}
		l.value = nil
		return
	case w == "--" && !l.over:
		l.over = true
		return
	case strings.HasPrefix(w, "-") && len(w) > 1 && len(l.args) == 0 && !l.over:
		name, value, given := strings.Cut(strings.TrimLeft(w, "-"), "=")
		for _, f := range l.flags {
			if d, ok := f.(cli.DocGenerationFlag); ok && d.TakesValue() && slices.Contains(f.Names(), name) && !given {
				l.value = f
			}
		}
		if given && name == "addr" {
			l.addr = value
		}
		return
	}
	if len(l.args) == 0 {
		for _, c := range l.commands {
			if c.HasName(w) {
				l.commands, l.path, l.flags = c.Subcommands, strings.TrimSpace(l.path+" "+c.Name), c.Flags
				if l.path == "help" { // the library gives it itself for a subcommand
					l.commands = nil
				}
				return
			}
		}
	}
	l.args = append(l.args, w)
}

func verbCompletions(commands []*cli.Command) []completion {
	var out []completion
	for _, c := range commands {
		if !c.Hidden {
			out = append(out, completion{c.Name, c.Usage})
		}
	}
	return out
}

func flagCompletions(flags []cli.Flag) []completion {
	out := []completion{{"--help", "show help"}}
	for _, f := range flags {
		about := ""
		if d, ok := f.(cli.DocGenerationFlag); ok {
			about = strings.ReplaceAll(d.GetUsage(), "`", "")
		}
		for _, name := range f.Names() {
			out = append(out, completion{strings.Repeat("-", min(len(name), 2)) + name, about})
		}
	}
	return out
}

// named are the names there are of a kind. A farm that does not answer has none.
func (a *app) named(ctx context.Context, l *line, kind, last string) []completion {
	switch {
	case kind == "":
		return nil
	case kind == "verb":
		var out []completion
		for _, c := range a.cli(nil).Commands {
			if !c.Hidden {
				out = append(out, completion{c.Name, c.Usage})
			}
		}
		return out
	case fixedWords[kind] != nil:
		var out []completion
		for _, w := range fixedWords[kind] {
			out = append(out, completion{w, kind})
		}
		return out
	}
	conn, err := a.running(ctx, cmp.Or(l.addr, os.Getenv(addrEnv)))
	if err != nil {
		return nil
	}
	defer conn.close()
	switch kind {
	case "ns":
		return namespaceCompletions(ctx, conn, last)
	case "key":
		return keyCompletions(ctx, conn, l.args[0])
	case "task":
		return taskCompletions(ctx, conn)
	case "job":
		return jobCompletions(ctx, conn)
	case "queue":
		return queueCompletions(ctx, conn)
	case "cron":
		return scheduleCompletions(ctx, conn)
	case "handler", "label":
		return hasCompletions(ctx, conn, kind == "handler")
	}
	return nodeCompletions(ctx, conn)
}

func queueCompletions(ctx context.Context, conn *connection) (out []completion) {
	list, err := conn.Queues(ctx)
	if err != nil {
		return nil
	}
	for _, q := range list {
		out = append(out, completion{q.Name, fmt.Sprintf("%s, %d waiting, %d running", queueState(q), q.Waiting, q.Running)})
	}
	return out
}

// hasCompletions are the handlers that workers have, or their labels.
func hasCompletions(ctx context.Context, conn *connection, handlers bool) (out []completion) {
	s, err := conn.Status(ctx)
	if err != nil {
		return nil
	}
	about := map[string]string{}
	for _, w := range s.Workers {
		names := label.Texts(w.Labels)
		if handlers {
			names = w.Handlers
		}
		for _, name := range names {
			about[name] = "worker " + w.ID
		}
	}
	for _, name := range slices.Sorted(maps.Keys(about)) {
		out = append(out, completion{name, about[name]})
	}
	return out
}

// namespaceCompletions completes the last name of a list.
func namespaceCompletions(ctx context.Context, conn *connection, last string) []completion {
	list, err := conn.Namespaces(ctx, "")
	if err != nil {
		return nil
	}
	before := last[:strings.LastIndexByte(last, ',')+1]
	var out []completion
	for _, n := range list {
		out = append(out, completion{before + n.Name, fmt.Sprintf("%d items", n.Items)})
	}
	return out
}

func keyCompletions(ctx context.Context, conn *connection, selection string) []completion {
	v, err := conn.Select(ctx, selection)
	if err != nil {
		return nil
	}
	n, err := conn.Namespace(v.Names()[0]).Stale().Show(ctx)
	if err != nil {
		return nil
	}
	var out []completion
	for _, x := range n.Variables {
		out = append(out, completion{x.Name, x.Type})
	}
	return out
}

func taskCompletions(ctx context.Context, conn *connection) []completion {
	list, err := conn.List(ctx, tasks.Filter{Limit: maxCompletions})
	if err != nil {
		return nil
	}
	var out []completion
	for _, t := range list {
		out = append(out, completion{t.ID, strings.TrimSpace(string(t.State) + " " + t.Namespace)})
	}
	return out
}

func jobCompletions(ctx context.Context, conn *connection) []completion {
	list, err := conn.Jobs(ctx, tasks.JobFilter{Limit: maxCompletions})
	if err != nil {
		return nil
	}
	var out []completion
	for _, j := range list {
		out = append(out, completion{j.ID, j.State + " " + doneOf(j)})
	}
	return out
}

func nodeCompletions(ctx context.Context, conn *connection) []completion {
	s, err := conn.Status(ctx)
	if err != nil {
		return nil
	}
	var out []completion
	for _, n := range s.Nodes {
		out = append(out, completion{n.ID, n.Role})
	}
	return out
}
