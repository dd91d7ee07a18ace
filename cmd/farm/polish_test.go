package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"farm/api"
	"farm/internal/cluster"
	"farm/namespace"
)

// leaves are the verbs that do something, by their path.
func leaves(commands []*cli.Command, path string) map[string]*cli.Command {
	out := map[string]*cli.Command{}
	for _, c := range commands {
		at := strings.TrimSpace(path + " " + c.Name)
		if c.Hidden {
			continue
		}
		for k, v := range leaves(c.Subcommands, at) {
			out[k] = v
		}
		if len(c.Subcommands) == 0 || at == "node" {
			out[at] = c
		}
	}
	return out
}

// words are the arguments that a command line of a shell gives to farm.
func words(t *testing.T, line string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "words")
	cmd := exec.Command("bash", "-c", `farm() { printf '%s\0' "$@" >>`+file+"; }\n"+line)
	_ = cmd.Run() // what else is in the line may not be there
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%s does not call farm: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
}

// Every verb has an example, and the examples run: against a fake farm, or where
// a verb needs more than that, they are at least read without an error.
func TestExamplesOfVerbs(t *testing.T) {
	verbs := leaves((&app{}).cli(nil).Commands, "")
	for path := range examples {
		if verbs[path] == nil {
			t.Errorf("examples of %q, which is no verb", path)
		}
	}
	const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	readOnly := []string{"dev", "node", "bench", "chaos", "verify", "node remove"} // they need more than a fake farm
	for path := range verbs {
		lines := examples[path]
		if len(lines) == 0 {
			t.Errorf("farm %s has no example", path)
		}
		for _, line := range lines {
			args := words(t, line)
			if !strings.HasPrefix(strings.Join(args, " ")+" ", path+" ") {
				t.Errorf("%s: not an example of %s", line, path)
			}
			if slices.Contains(readOnly, path) {
				readExample(t, path, line, args)
				continue
			}
			f := newFakeFarm(t)
			for _, ns := range []string{"c0", "c1", "c2", "c3"} {
				f.vars[ns] = map[string]string{"a": "1", "xs": "[1,2]", "words": "[]"}
			}
			f.tasks[id] = &api.Task{Id: id, State: "succeeded", Value: []byte("1")}
			if path == "task retry" || path == "task drop" {
				f.tasks[id].State = "failed"
			}
			exampleFiles(t)
			stdin := ""
			if strings.Contains(line, "|") {
				stdin = "1\n2\n"
			}
			if r := farmCommand(t.Context(), t, f, stdin, args...); r.code != 0 {
				t.Errorf("%s: %+v", line, r)
			}
		}
	}
}

// readExample reads a command line without doing what it says.
func readExample(t *testing.T, path, line string, args []string) {
	a := &app{io: streams{out: &bytes.Buffer{}, err: &bytes.Buffer{}}}
	all := append([]string{"farm"}, args...)
	c := a.cli(all)
	ran := false
	leaves(c.Commands, "")[path].Action = func(*cli.Context) error { ran = true; return nil }
	if err := c.RunContext(t.Context(), all); err != nil || !ran {
		t.Errorf("%s: %v, ran: %v", line, err, ran)
	}
}

// exampleFiles makes the files that examples name, in a folder to be in.
func exampleFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	var saved bytes.Buffer
	if err := (&namespace.Export{Name: "c0", Version: 1, Items: map[string][]byte{}}).Write(&saved); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"hello.go": "\"hello\"\n", "data.csv": "a,b\n", "numbers.jsonl": "1\n2\n3\n", "saved.farm": saved.String(),
		"squares.go": "func Square(n int) int { return n * n }\n\nvar total int\n\nfunc Add(n int) int { total += n; return total }\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTemplates(t *testing.T) {
	f := newFakeFarm(t)
	f.vars["c0"] = map[string]string{"x": `{"B": [1, 2.5], "A": "text"}`}
	run := func(args ...string) ended { t.Helper(); return farmCommand(t.Context(), t, f, "", args...) }
	run("get", "-o", "{{.key}}: {{.value.A}} {{index .value.B 1}} {{json .value}}", "c0", "x").check(t, 0, `x: text 2.5 {"A":"text","B":[1,2.5]}`+"\n", "")
	run("get", "-o", `{{join "+" .value.B}}{{"\n"}}`, "c0", "x").check(t, 0, "1+2.5\n", "")
	run("status", "-o", "{{.leader}}{{range .nodes}} {{.id}}:{{.pid}}{{end}} {{.tasks.succeeded}}").check(t, 0, "n1 n1:123 9\n", "")
	run("node", "ls", "-o", "{{.id}} {{.version}}").check(t, 0, "n1 \n", "")
	// An optional field is empty, one that there is not is an error.
	run("submit", "--id", "t", "-o", "<{{.namespace}}{{.error.kind}}>{{.value}}", "-c", "1 // value 7").check(t, 0, "<>7\n", "")
	if r := run("status", "-o", "{{.leeder}}"); r.code != exitUsage || r.out != "" || !strings.Contains(r.err, "leeder") {
		t.Errorf("%+v", r)
	}
	if r := run("submit", "-o", "{{.error.kind}}: {{.error.message}}", "-c", "1 // fail panic boom"); r.code != exitFailed || r.out != "panic: boom\n" {
		t.Errorf("%+v", r)
	}
	farmCommand(t.Context(), t, f, "{\"n\":1}\n{\"n\":2}\n", "map", "--call", "F", "-o", "n={{(index . 0).n}}", "testdata/f.cell").check(t, 0, "n=1\nn=2\n", "")
	if r := run("logs", "-f", "-o", "{{.id}}", "t"); r.code != exitUsage {
		t.Errorf("%+v", r)
	}
}

func TestTableFitsTheTerminal(t *testing.T) {
	var b strings.Builder
	s := &streams{out: &b, outTerm: true, width: 40}
	tab := s.table("ID", "STATE", "RESULT", "N")
	tab.row("01ARZ3NDEKTSV4RR", "succeeded", strings.Repeat("é", 30), 7)
	tab.row("2", "failed", "short", 8)
	tab.print()
	want := "ID                STATE      RESULT    N\n01ARZ3NDEKTSV4RR  succeeded  ééééééé…  7\n2                 failed     short     8\n"
	if b.String() != want {
		t.Errorf("%s, want\n%s", b.String(), want)
	}
	// The first column stays whole, also where nothing fits.
	b.Reset()
	s.width = 10
	tab.print()
	if !strings.Contains(b.String(), "01ARZ3NDEKTSV4RR") {
		t.Errorf("%q", b.String())
	}
	b.Reset()
	s.width, s.color = 0, true
	tab.print()
	if !strings.Contains(b.String(), "\x1b[31mfailed\x1b[0m  ") || !strings.Contains(b.String(), "\x1b[1mID\x1b[0m") {
		t.Errorf("%q", b.String())
	}
}

func TestNoColor(t *testing.T) {
	for value, want := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", value)
		t.Setenv("TERM", "xterm")
		if got := wantsColor(true); got != want {
			t.Errorf("NO_COLOR=%q: %v", value, got)
		}
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if wantsColor(true) || wantsColor(false) {
		t.Error("colours where none can be seen")
	}
}

func TestCommandLineCompletions(t *testing.T) {
	f := newFakeFarm(t)
	f.vars["alpha"], f.vars["alpine"], f.vars["beta"] = map[string]string{"x": "1"}, map[string]string{}, map[string]string{}
	f.tasks["t1"] = &api.Task{Id: "t1", State: "running", Namespace: "beta"}
	for line, want := range map[string]string{
		"su":                        "submit",
		"jo":                        "job",
		"__":                        "",
		"job ":                      "ls show wait results failures retry cancel",
		"job w":                     "wait",
		"job wait ":                 "j2 j1",
		"task wait --t":             "--timeout",
		"task wait --timeout ":      "",
		"task show ":                "t1",
		"exec al":                   "alpha alpine",
		"exec beta,al":              "beta,alpha beta,alpine",
		"exec alpha ":               "",
		"get --type alpha ":         "x",
		"get -- -":                  "",
		"submit --ns be":            "beta",
		"submit --addr host:1 --de": "--delay --deadline --detach",
		"ns rm alpha al":            "alpha alpine",
		"task ls --state r":         "running",
		"job ls --state o":          "open",
		"node --log-store ":         "wal boltdb",
		"cron show ":                "nightly",
		"node re":                   "remove",
		"node remove ":              "n1",
		"completion ":               "bash fish zsh",
		"help vers":                 "version",
		"map --call F --in ":        "",
		"nonsense ":                 "",
	} {
		args := strings.Split(line, " ")
		r := farmCommand(t.Context(), t, f, "", append([]string{"__complete", "--"}, args...)...)
		var got []string
		for l := range strings.Lines(r.out) {
			name, _, _ := strings.Cut(l, "\t")
			got = append(got, name)
		}
		if r.code != 0 || r.err != "" || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q (%+v)", line, got, want, r)
		}
	}
}

// A farm that does not answer costs no more than the time there is for it, and
// none that is not running is started.
func TestCompletionWithoutAFarm(t *testing.T) {
	f := newFakeFarm(t)
	f.hold = make(chan struct{})
	defer close(f.hold)
	begun := time.Now()
	if r := farmCommand(t.Context(), t, f, "", "__complete", "--", "exec", ""); r.code != 0 || r.out != "" || r.err != "" {
		t.Errorf("%+v", r)
	}
	if passed := time.Since(begun); passed > 10*completeTimeout {
		t.Errorf("it took %v", passed)
	}
	t.Chdir(t.TempDir())
	if _, err := connectRunning(t.Context(), ""); !errors.Is(err, cluster.ErrNotRunning) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(localDir); err == nil {
		t.Error("a folder was made")
	}
}

// The scripts work in their shells.
func TestCompletionScripts(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "farm"), []byte("#!/bin/sh\n"+farmEnv+"=1 exec '"+os.Args[0]+"' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for shell, script := range map[string]string{
		"bash": "source <(farm completion bash)\nCOMP_WORDS=(farm job w) COMP_CWORD=2\n_farm\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n" +
			"COMP_WORDS=(farm map '') COMP_CWORD=2\n_farm\necho ${#COMPREPLY[@]}\n",
		"zsh": "_describe() { print -l ${found%%:*} }\n_files() { print 0 }\ncompdef() { :; }\nsource <(farm completion zsh)\nwords=(farm job w) CURRENT=3\n_farm\n" +
			"words=(farm map '') CURRENT=3\n_farm\n",
		"fish": "farm completion fish | source\ncomplete -C 'farm job w' | string replace -r '\\t.*' ''\ncd (mktemp -d)\ncount (complete -C 'farm map ')\n",
	} {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				t.Skip("needs " + shell)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			args := map[string][]string{"bash": {"--norc"}, "zsh": {"-f"}, "fish": {"--no-config"}}[shell]
			cmd := exec.CommandContext(ctx, shell, append(args, "-c", script)...)
			cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "FARM_ADDR=", "HOME="+dir)
			cmd.Dir = dir
			out, err := cmd.Output()
			if string(out) != "wait\n0\n" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}
