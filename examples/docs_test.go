package examples

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// block is a fenced block of a page. Its info says what it is: "sh" is run,
// "sh terminal" is left running, "sh checkout" is run in the checkout, "go FILE" is saved,
// "text" is what the commands before it print. "python" and "go" without
// a file are only shown.
type block struct {
	info, text string
	line       int
}

var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

func blocks(t *testing.T, page string) []block {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	for _, m := range fence.FindAllSubmatchIndex(b, -1) {
		out = append(out, block{string(b[m[2]:m[3]]), string(b[m[4]:m[5]]), 1 + strings.Count(string(b[:m[0]]), "\n")})
	}
	return out
}

// checkout is this module's folder.
func checkout(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// followed runs a page as a reader would: all commands in one shell, one after the
// other, in a folder of their own.
func followed(t *testing.T, page string, before string) {
	dir, bin := t.TempDir(), t.TempDir()
	var script strings.Builder
	// What is left running ends with the shell; nodes that were started must not
	// outlive the test.
	script.WriteString("set -e\ntrap 'kill $(jobs -p) 2>/dev/null || :; wait' EXIT\n" + before)
	want := map[string]string{} // by the file that has the output
	last := ""
	for _, b := range blocks(t, page) {
		kind, name, _ := strings.Cut(b.info, " ")
		switch {
		case kind == "go" && name != "":
			fmt.Fprintf(&script, "cat >%s <<'END_OF_FILE'\n%sEND_OF_FILE\n", filepath.Join(dir, name), b.text)
		case kind == "text":
			if last == "" {
				t.Fatalf("%s:%d: nothing was run before", page, b.line)
			}
			want[last] = b.text
		case kind == "sh" && name == "terminal":
			fmt.Fprintf(&script, "%s >dev.log 2>&1 &\n%s", strings.TrimSpace(b.text), ready)
		case kind == "sh":
			last = fmt.Sprintf("line %d", b.line)
			fmt.Fprintf(&script, "echo 'at %s:%d' >&2\nexec >'%s'\n", filepath.Base(page), b.line, filepath.Join(dir, last))
			if name == "checkout" {
				fmt.Fprintf(&script, "cd %s\n%scd %s\n", checkout(t), b.text, dir)
				break
			}
			script.WriteString(b.text)
		case kind == "python", kind == "go": // what it would be elsewhere, or a part
		default:
			t.Fatalf("%s:%d: what is a block of %q?", page, b.line, b.info)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "PATH="+bin+":"+os.Getenv("PATH"), "FARM_ADDR=", "FARM_SRC="+checkout(t))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	var told strings.Builder
	cmd.Stderr = &told
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", page, err, told.String())
	}
	for file, text := range want {
		got, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || string(got) != text {
			t.Errorf("%s, %s: %v, it prints\n%snot\n%s", page, file, err, got, text)
		}
	}
	if len(want) == 0 {
		t.Error("nothing was compared")
	}
}

// ready waits for farm dev, which writes this file when its nodes are.
const ready = `for i in $(seq 300); do [ -s .farm/cluster.json ] && break; sleep 0.1; done
[ -s .farm/cluster.json ]
`

func TestGettingStarted(t *testing.T) {
	followed(t, "../docs/getting-started.md", "")
}

// The programs on the pages for those who come from elsewhere run on one farm each.
func TestFromElsewhere(t *testing.T) {
	for _, name := range []string{"ipyparallel", "dask", "river", "asynq"} {
		t.Run(name, func(t *testing.T) { fromElsewhere(t, "../docs/from-"+name+".md") })
	}
}

func fromElsewhere(t *testing.T, page string) {
	followed(t, page, "go build -C \"$FARM_SRC\" -o \"$GOBIN/farm\" ./cmd/farm\nfarm dev >dev.log 2>&1 &\n"+ready+
		"export FARM_ADDR=$(farm node ls -o '{{.api}}' | paste -s -d, -)\n")
}

func TestTasksThatSubmit(t *testing.T) {
	page := "../docs/tasks-that-submit.md"
	followed(t, page, "go build -C \"$FARM_SRC\" -o \"$GOBIN/farm\" ./cmd/farm\nfarm dev >dev.log 2>&1 &\n"+ready)
}

// Links between the pages lead somewhere, also those into a page.
func TestLinksOfPages(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"../*.md", "../docs/decisions/*.md", "*/README.md"} {
		more, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, more...)
	}
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
			to := page
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(to); errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: there is no %s", page, m[1])
			} else if m[2] != "" && !slices.Contains(anchors(t, to), m[2]) {
				t.Errorf("%s: %s has no heading %s", page, to, m[2])
			}
		}
	}
}

// anchors are what the headings of a page are called in links.
func anchors(t *testing.T, page string) (out []string) {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
		text := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, "#"+strings.ReplaceAll(text, " ", "-"))
	}
	return out
}

// presumed is what the parts of programs on farm's own pages take for granted.
const presumed = `package p

import (
	"context"
	"testing"
	"time"

	"farm/tasks"
	"farm/tasks/taskstest"
)

type (
	Picture struct{ File string }
	Thumb   struct{ Width, Height int }
)

var (
	_        = time.Hour
	_        = taskstest.New
	ctx      context.Context
	c        *tasks.Client
	mux      *tasks.Mux
	err      error
	pictures []Picture
	t        *testing.T
)

func _() {
`

// The Go of pages that is not run compiles, whole programs and parts.
func TestGoOfPages(t *testing.T) {
	imported := exports(t, "farm/tasks", "farm/tasks/taskstest")
	for _, page := range []string{"../README.md", "../docs/handlers.md"} {
		parts := 0
		for _, b := range blocks(t, page) {
			if b.info != "go" {
				continue
			}
			parts++
			text := strings.NewReplacer("{ … }", `{ panic("") }`, "/* … */", `panic("")`).Replace(b.text)
			if !strings.HasPrefix(text, "package ") {
				text = presumed + text + "}\n"
			}
			for _, err := range typeErrors(imported, text) {
				t.Errorf("%s:%d: %v", page, b.line, err)
			}
		}
		if parts == 0 {
			t.Errorf("%s has no Go", page)
		}
	}
}

// typeErrors is what Go says of a file, but for what a part of a program leaves unused.
func typeErrors(from types.Importer, text string) (errs []error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "page.go", text, parser.SkipObjectResolution)
	if err != nil {
		return []error{err}
	}
	check := types.Config{Importer: from, Error: func(err error) {
		var e types.Error
		if errors.As(err, &e) && !e.Soft {
			errs = append(errs, err)
		}
	}}
	_, _ = check.Check("p", fset, []*ast.File{file}, nil) // it gives all errors to Error
	return errs
}

// exports imports packages, and what they import, as the go command has built them.
func exports(t *testing.T, packages ...string) types.Importer {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-export", "-f", "{{.ImportPath}} {{.Export}}", "testing", "os/signal"}, packages...)...)
	var told strings.Builder
	cmd.Stderr = &told
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, told.String())
	}
	files := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
}
