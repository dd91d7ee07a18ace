package examples

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// Links between the pages lead somewhere.
func TestLinksOfPages(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../README.md", "../CHANGELOG.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(string(b), ""), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), m[1])); errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: there is no %s", page, m[1])
			}
		}
	}
}
