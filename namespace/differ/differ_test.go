package differ_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	ns "farm/namespace"
	"farm/namespace/differ"
	"farm/namespace/live"
	"farm/namespace/vm/raw"
)

const (
	// batch is how many programs one file has, few how many where nothing is looked for, and quick how many
	// when go test -fuzz gives an input ten seconds.
	batch, few, quick = 100, 20, 30
	// patience is how long a file may run.
	patience = 2 * time.Minute
)

// TestPrograms holds the machine against the Go compiler with a few programs. More:
//
//	go test ./namespace/differ -fuzz FuzzPrograms -fuzztime 20m -parallel 1
func TestPrograms(t *testing.T) { compare(t, []byte("a few"), few) }

var (
	search = flag.Duration("search", 0, "how long TestSearch looks for programs that differ")
	seed   = flag.Int("seed", 0, "the first file of TestSearch")
)

// TestSearch does what the fuzz target does on a machine that is too busy for its time limit:
//
//	go test ./namespace/differ -run TestSearch -search 20m -timeout 0
func TestSearch(t *testing.T) {
	if *search == 0 {
		t.Skip("it looks for new programs that differ: -search 20m")
	}
	end := time.Now().Add(*search)
	for i := *seed; time.Now().Before(end) && !t.Failed(); i++ {
		compare(t, fmt.Appendf(nil, "file %d", i), batch)
		t.Logf("%d programs of file %d", batch, i)
	}
}

// FuzzPrograms makes many programs of each input.
func FuzzPrograms(f *testing.F) {
	n := few // of the inputs that are kept
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if x := flag.Lookup(name); x != nil && x.Value.String() != "" && x.Value.String() != "false" {
			n = quick
		}
	}
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) { compare(t, data, n) })
}

// compare runs the programs of data compiled and on the machine.
func compare(t *testing.T, data []byte, n int) {
	if err := raw.Supported(); err != nil {
		t.Skip(err)
	}
	src := differ.File(data, n)
	want, got := compiled(t, src), machine(t, src)
	w, g := differ.Split(want), differ.Split(got)
	bad := 0
	for i := range n {
		h := differ.Header(i)
		if w[h] == g[h] {
			continue
		}
		if bad++; bad > 3 {
			t.Error("and more")
			return
		}
		t.Errorf("program %d of %q: %s\n%s", i, data, difference(w[h], g[h]), differ.One(data, i))
	}
}

// compiled is what the Go compiler makes of a program.
func compiled(t *testing.T, src string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": src, "go.mod": "module programs\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", "programs", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the programs are not valid: %v\n%.3000s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	run := exec.CommandContext(ctx, filepath.Join(dir, "programs"))
	out, err := run.Output()
	if err != nil {
		t.Fatalf("compiled: %v\n%.2000s", err, out[max(0, len(out)-1000):])
	}
	return string(out)
}

// output is written by a cell.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// machine runs the same as a cell.
func machine(t *testing.T, src string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out output
	c := live.New(live.Options{Stdout: &out, Stderr: &out, Limits: ns.Limits{Source: 64 << 20}})
	defer c.Close()
	if _, err := c.Run(ctx, ns.Run{Source: src, Engine: ns.EngineSSA, Discard: true}); err != nil {
		var p *ns.PanicError
		if errors.As(err, &p) {
			t.Errorf("stack: %v", p.Stack)
		}
		t.Errorf("on the machine: %.3000s", err)
	}
	return out.String()
}

// difference shows the first line that differs.
func difference(want, got string) string {
	w, g := bytes.Split([]byte(want), []byte("\n")), bytes.Split([]byte(got), []byte("\n"))
	for i := range max(len(w), len(g)) {
		var a, b []byte
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if !bytes.Equal(a, b) {
			return fmt.Sprintf("line %d is %q, not %q", i+1, b, a)
		}
	}
	return "same"
}

// TestSameAgain proves that an input determines its programs, and that one of them can be had alone.
func TestSameAgain(t *testing.T) {
	a, b := differ.File([]byte("x"), 20), differ.File([]byte("x"), 20)
	if a != b {
		t.Error("two files of one input differ")
	}
	if a == differ.File([]byte("y"), 20) {
		t.Error("two inputs have the same programs")
	}
	p := differ.One([]byte("x"), 7)
	if len(p) >= len(a) || !bytes.Contains([]byte(p), []byte("func p7()")) || bytes.Contains([]byte(p), []byte("func p6()")) {
		t.Error("One gives another program")
	}
}
