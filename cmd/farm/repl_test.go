package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"farm/namespace"
	"farm/tasks"
)

func TestEntry(t *testing.T) {
	for _, x := range []struct {
		name          string
		lines         []string // ^ before a line that is pasted
		typed, script []string // cells and commands, joined by |
	}{
		{"lines", []string{"x := 1", "x"}, []string{"x := 1\n", "x\n"}, []string{"x := 1\nx\n"}},
		{"blank between", []string{"x := 1", "", "x", ""}, []string{"x := 1\n", "\n", "x\n", "\n"}, []string{"x := 1\n\n", "x\n\n"}},
		{"bracket", []string{"f(", "1)", ""}, []string{"f(\n1)\n", "\n"}, []string{"f(\n1)\n\n"}},
		{"blank in bracket", []string{"f({", "", "})", ""}, []string{"f({\n\n", "})\n", "\n"}, []string{"f({\n\n})\n\n"}},
		{"blank in string", []string{"s := `a", "", "b`"}, []string{"s := `a\n\nb`\n"}, []string{"s := `a\n\nb`\n"}},
		{"operator", []string{"1 +", "2"}, []string{"1 +\n2\n"}, []string{"1 +\n2\n"}},
		{"operator given up", []string{"1 +", "", "2"}, []string{"1 +\n\n", "2\n"}, []string{"1 +\n\n", "2\n"}},
		{"command", []string{"x", ":vars", "  :quit"}, []string{"x\n", "", ":vars", "", "  :quit"}, []string{"x\n", ":vars", "", "  :quit"}},
		{"no command", []string{"s := `", ":vars`"}, []string{"s := `\n:vars`\n"}, []string{"s := `\n:vars`\n"}},
		{"paste", []string{"^type A []B", "^", "^type B []A", "^", "", "1"}, []string{"type A []B\n\ntype B []A\n\n\n", "1\n"}, nil},
		{"paste and type", []string{"^func f() {", "^", "}"}, []string{"func f() {\n\n}\n"}, nil},
	} {
		var typed, script entry
		var cells, scripted []string
		for _, line := range x.lines {
			text, pasted := strings.CutPrefix(line, "^")
			cells = append(cells, typed.add(text, pasted)...)
			scripted = append(scripted, script.line(text)...)
		}
		if rest := script.rest(); rest != "" {
			scripted = append(scripted, rest)
		}
		if !slices.Equal(cells, x.typed) || typed.text != "" {
			t.Errorf("%s, typed: %q, left %q", x.name, cells, typed.text)
		}
		if x.script != nil && !slices.Equal(scripted, x.script) {
			t.Errorf("%s, in a script: %q", x.name, scripted)
		}
	}
}

func TestAnnotate(t *testing.T) {
	sources := map[string]string{"": "a := 1\n\tb := é + nope\nf(", "f": "func f() {\n\tg()\n}"}
	find := func(name string) string { return sources[name] }
	for _, x := range []struct{ msg, want string }{
		{"1:6: bad", "   1 | a := 1\n     |      ^ bad\n"},
		{"2:12: undefined: nope", "   2 | \tb := é + nope\n     | \t         ^ undefined: nope\n"}, // bytes are not columns
		{"3:3: expected )", "   3 | f(\n     |   ^ expected )\n"},
		{"3:2: too many\n\thave (int)\n\twant ()", "   3 | f(\n     |  ^ too many\n     |   have (int)\n     |   want ()\n"},
		{"in f 2:2: undefined: g", "in f:\n   2 | \tg()\n     | \t^ undefined: g\n"},
		{"in gone 2:2: x", "in gone 2:2: x\n"},
		{"99:1: beyond", "beyond\n"},
		{"no place", "no place\n"},
	} {
		if got := annotate(x.msg, find); got != x.want {
			t.Errorf("%q:\n%s", x.msg, got)
		}
	}
	if got := withStack("panic: p", []string{"f:2", "f:2", "T.M:3", "cell:1", "1:28"}); got != "panic: p\n\tin f\n\tin T.M\n\tin the cell\n" {
		t.Errorf("stack:\n%s", got)
	}
	if got := withStack("lost", nil); got != "lost\n" {
		t.Errorf("no stack: %q", got)
	}
	long := strings.Repeat("é", 500) + "here" + strings.Repeat("x", 500)
	got := underline("", long, "1", "1001", "m")
	text, under, _ := strings.Cut(got, "\n")
	if i := strings.Index(text, "here"); i < 0 || len([]rune(text)) > maxShownLine+len(gutter)+2 || len([]rune(text[:i])) != strings.IndexByte(under, '^') {
		t.Errorf("a long line:\n%s", got)
	}
}

func TestCompletions(t *testing.T) {
	names, err := namespace.NewNames(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		head, before string
		start        int
		want         []string
	}{
		{":u", "", 0, []string{":undo"}},
		{":t", "", 0, []string{":type "}},
		{"x := appe", "", 5, []string{"append"}},
		{"sw", "", 0, []string{"switch"}},
		{"coun", "counter, county := 1, 2", 0, []string{"counter", "county"}},
		{"x.nope", "", 2, nil},
		{"f(", "", 2, nil},
		{"zzz", "", 0, nil},
	} {
		if start, got := completions(x.head, x.before, names); start != x.start || !slices.Equal(got, x.want) {
			t.Errorf("%q: %d %q", x.head, start, got)
		}
	}
	if _, got := completions("swi", "", nil); !slices.Equal(got, []string{"switch"}) {
		t.Errorf("without names: %q", got)
	}
}

// A script shows data alone on standard output, and ends as the first cell
// that fails.
func TestReplScript(t *testing.T) {
	f := newFakeFarm(t)
	r := farmCommand(t.Context(), t, f, "a := 1 // value 1\n\nb := func() int {\n\n\treturn 2 // print hello\n}\n:quit\nnever run", "repl", "c")
	r.check(t, 0, "1\nhello\n", "")
	if got := f.submitted(); len(got) != 2 || got[0].Namespace != "c" || got[1].Work.Source != "b := func() int {\n\n\treturn 2 // print hello\n}" {
		t.Errorf("submitted %v", got)
	}
	for script, want := range map[string]ended{
		"panic(1) // fail panic boom\n\n2 // value 2": {exitFailed, "", "panic: boom\n"},
		"x := 1\ny := nope":                           {exitFailed, "", "   2 | y := nope\n     |      ^ undefined: nope\n"},
		"import \"os/exec\"":                          {exitRefused, "", "   1 | import \"os/exec\"\n     |        ^ package \"os/exec\" is not allowed: a cell has no files and no processes\n"},
		":nope":                                       {exitUsage, "", "farm: there is no command :nope; :help lists them\n"},
		":type x y z":                                 {exitFailed, "", "farm: not found: nothing is called x y z here\n"},
		":vars now":                                   {exitUsage, "", "farm: usage: :vars\n"},
		":type len":                                   {0, "builtin len\n", ""},
		"":                                            {},
	} {
		if r := farmCommand(t.Context(), t, newFakeFarm(t), script, "repl", "c"); r != want && script != "panic(1) // fail panic boom\n\n2 // value 2" {
			t.Errorf("%q: %+v", script, r)
		} else if r.code != want.code {
			t.Errorf("%q: %+v", script, r)
		}
	}
	f.vars["c"] = map[string]string{"x": "1"}
	farmCommand(t.Context(), t, f, ":vars\n:decls\n", "repl", "c").check(t, 0, "x\tint\t9\t2\nimport \"strings\"\nfunc f() {}\n", "")
}

// fakeRestore is what takes a fake farm's namespaces back.
type fakeRestore struct {
	f  *fakeFarm
	to []uint64
}

func (r *fakeRestore) Restore(_ context.Context, version uint64) error {
	r.to = append(r.to, version)
	r.f.version.Add(1)
	return nil
}

// An undo is a version of its own, so the next one has to go further back.
func TestUndo(t *testing.T) {
	f := newFakeFarm(t)
	f.vars["c"] = map[string]string{"x": "1"}
	f.version.Store(7)
	c, err := tasks.Dial(t.Context(), f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	back := &fakeRestore{f: f}
	var out, errs bytes.Buffer
	r := &repl{a: &app{io: streams{out: &out, err: &errs}}, conn: &connection{Client: c}, ns: c.Namespace("c"), back: back, undone: map[uint64]uint64{}}
	undo := func() {
		t.Helper()
		if err := r.do(t.Context(), ":undo"); err != nil {
			t.Fatal(err)
		}
	}
	undo() // 7 → 6, which is version 8
	undo() // 6 → 5, which is version 9
	f.version.Add(1)
	undo() // somebody changed it: 10 → 9
	undo() // that is as 5 was, but it is the version before the change: 9 came of 5
	if want := []uint64{6, 5, 9, 4}; !slices.Equal(back.to, want) {
		t.Errorf("restored %v, want %v", back.to, want)
	}
	delete(f.vars, "c")
	if err := r.do(t.Context(), ":undo"); !errors.Is(err, tasks.ErrNotFound) {
		t.Errorf("version 0 is undone: %v", err)
	}
}

func TestReplAtATerminal(t *testing.T) {
	t.Parallel()
	f := newFakeFarm(t)
	dir := t.TempDir()
	x := startTerminal(t, dir, nil, "repl", "--addr", f.addr, "c")
	x.expect("namespace c, new; :help for help")
	x.expect("c> ")

	// A value has its type, dimmed only where colour is wanted; NO_COLOR is set here.
	if got := x.enter("c> ", "a := 1 // value 41"); !strings.Contains(got, "41  T\r\n") {
		t.Errorf("value: %q", got)
	}
	if got := x.enter("c> ", "y := nope"); !strings.Contains(got, "   1 | y := nope\r\n     |      ^ undefined: nope\r\n") {
		t.Errorf("error: %q", got)
	}
	// Several lines.
	x.enter(".> ", "func f(")
	x.enter(".> ", "n int) int { // print hello")
	if got := x.enter("c> ", "return n }"); !strings.Contains(got, "hello\r\n") {
		t.Errorf("three lines: %q", got)
	}
	// Ctrl-C drops what is typed.
	x.enter(".> ", "g(")
	x.keys("half\x03")
	x.expect("c> ")
	// History, over Ctrl-C: up twice is the line before "g(".
	x.keys("\x1b[A\x1b[A")
	x.expect("return n }")
	x.keys("\x15")
	// Completion: of a name, of a part with a list, of a command.
	x.keys("fallth\t")
	x.expect("fallthrough")
	x.keys("\x15co\t")
	x.expect("comparable")
	x.expect("continue")
	x.expect("c> ")
	x.keys("\x15:he\t\r")
	x.expect("Tab completes")
	x.expect("c> ")
	// Ctrl-C cancels the cell that runs.
	x.keys("for { // never\r")
	x.expect(".> ")
	x.keys("}\r")
	await(t, "the cell runs", func() bool { return f.runs("never") })
	x.keys("\x03")
	x.expect("cancelled; the namespace is as it was")
	x.expect("c> ")
	// A paste is one cell, with the next Enter.
	before := len(f.submitted())
	x.paste("type A []B\n\ntype B int // value 5\n")
	x.keys("\r")
	x.expect("5  T\r\n")
	x.expect("c> ")
	if s := f.submitted(); len(s) != before+1 || !strings.HasPrefix(s[before].Work.Source, "type A []B\n\ntype B") {
		t.Errorf("pasted: %d tasks", len(s)-before)
	}
	// A call that takes long is told about, once.
	hold := make(chan struct{})
	f.mu.Lock()
	f.hold = hold
	f.mu.Unlock()
	x.keys("2 // value 2\r")
	x.expect("waiting for a leader…")
	f.mu.Lock()
	f.hold = nil
	f.mu.Unlock()
	close(hold)
	if got := x.expect("2  T\r\n"); strings.Contains(got, "waiting") {
		t.Errorf("told again: %q", got)
	}
	x.expect("c> ")
	x.keys("\x04")
	x.exit(0)

	path := filepath.Join(dir, "state", "farm", "repl_history")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("history: %v, %v", info, err)
	}
	x = startTerminal(t, dir, nil, "repl", "--addr", f.addr, "c")
	x.expect("c> ")
	x.keys("\x1b[A")
	x.expect("2 // value 2")
	x.keys("\x15:quit\r")
	x.exit(0)
	x = startTerminal(t, dir, nil, "repl", "--addr", f.addr, "c")
	x.expect("c> ")
	x.cmd.Process.Signal(os.Interrupt) // from outside, it ends the command
	x.exit(exitInterrupted)
}

// tutorial reads testdata/tutorial.txt: what is pasted, and what is to be shown,
// which must not occur in what is pasted.
func tutorial(t *testing.T) (cells [][2]string) {
	b, err := os.ReadFile(filepath.Join("testdata", "tutorial.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for i, part := range strings.Split(strings.ReplaceAll("\n"+string(b), "\n-- want --\n", "\n-- "), "\n-- ")[1:] {
		if i%2 == 0 {
			_, text, _ := strings.Cut(part, "\n") // after its title
			cells = append(cells, [2]string{text})
		} else {
			cells[i/2][1] = strings.TrimRight(part, "\n")
		}
	}
	return cells
}

// The examples of a Go tutorial, pasted one after the other, with the death of
// the node that is asked between two of them.
func TestReplOnARealFarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	farm := startFarm(t, dir)
	x := startTerminal(t, dir, nil, "repl", "--addr", farm.Addrs()[0], "tour")
	x.expect("tour> ")
	cells := tutorial(t)
	for i, cell := range cells {
		if i == len(cells)/2 {
			if err := farm.Kill(0); err != nil {
				t.Fatal(err)
			}
		}
		x.paste(cell[0])
		x.keys("\r")
		x.expect(strings.ReplaceAll(cell[1], "\n", "\r\n"))
		x.expect("tour> ")
	}
	// Output comes while the cell runs, and Ctrl-C leaves everything as it was.
	x.enter("....> ", `import "time"; func slow() {`)
	x.enter("tour> ", `sum++; fmt.Println("begun"); time.Sleep(time.Hour) }`)
	x.keys("slow()\r")
	x.expect("begun\r\n")
	x.keys("\x03")
	x.expect("cancelled; the namespace is as it was")
	x.expect("tour> ")
	if got := x.enter("tour> ", "sum"); !strings.Contains(got, "45  int") {
		t.Errorf("after Ctrl-C: %q", got)
	}
	for _, line := range []string{"sum = 1", "sum = 2", ":undo", ":undo"} {
		x.enter("tour> ", line)
	}
	if got := x.enter("tour> ", "sum"); !strings.Contains(got, "45  int") {
		t.Errorf("after two changes and two undos: %s", got)
	}
	// Names of the namespace and of its imports.
	x.keys(":type p.Sc\t\r")
	x.expect("func (*Point).Scale(f float64)")
	x.expect("tour> ")
	x.keys("math.MaxInt3\t\x01int(\x05)\r")
	x.expect("2147483647  int")
	x.expect("tour> ")
	if got := x.enter("tour> ", ":vars"); !regexp.MustCompile(`list +\*List\[string\] `).MatchString(got) {
		t.Errorf(":vars: %q", got)
	}
	if got := x.enter("tour> ", ":decls"); !strings.Contains(got, "func count(n int) int {\r\n") || !strings.Contains(got, `import "math"`) {
		t.Errorf(":decls: %q", got)
	}
	// An error in what was declared before is shown there.
	if got := x.enter("tour> ", "func fibonacci() int { return 1 }"); !strings.Contains(got, "in firstN:\r\n   4 |") {
		t.Errorf("an incompatible change: %q", got)
	}
	x.keys("\x04")
	x.exit(0)
}
