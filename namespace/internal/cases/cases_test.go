package cases

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	update  = flag.Bool("update", false, "write more.want from what the Go compiler's programs print")
	compile = flag.Bool("compile", false, "hold more.want against what the Go compiler's programs print; about a minute")
)

// suite is a file of cases and what Go says of them.
type suite struct{ file, text, want string }

var suites = []suite{{"more", moreText, moreWant}, {"gonum", gonumText, gonumWant}}

// TestWantsAreOfTheseCases holds the answers against the cases they were made from.
func TestWantsAreOfTheseCases(t *testing.T) {
	for _, s := range suites {
		if first, _, _ := strings.Cut(s.want, "\n"); first != s.sum() && !*update {
			t.Errorf("%s.want is not of these cases: go test ./namespace/internal/cases -update", s.file)
		}
	}
}

func (s suite) sum() string {
	return fmt.Sprintf("# SHA-256 of %s.txt: %x", s.file, sha256.Sum256([]byte(s.text)))
}

// TestWantsAreGos compiles the cases of each suite with Go, as one program, and holds what it prints against
// the answers, or writes those.
func TestWantsAreGos(t *testing.T) {
	if !*update && !*compile {
		t.Skip("compiling all cases takes a minute: -compile")
	}
	for _, s := range suites {
		t.Run(s.file, func(t *testing.T) { s.ask(t) })
	}
}

func (s suite) ask(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var imports, calls strings.Builder
	for i, w := range parse(s.text) {
		pkg := fmt.Sprintf("c%d", i)
		write(pkg+"/case.go", program(pkg, w))
		fmt.Fprintf(&imports, "import %q\n", "cases/"+pkg)
		fmt.Fprintf(&calls, "\tfmt.Println(%q)\n\t%s.Run()\n", "## "+w.name, pkg)
	}
	write("go.mod", "module cases\n\ngo 1.26\n\nrequire gonum.org/v1/gonum "+version(t, "gonum.org/v1/gonum")+"\n")
	write("go.sum", read(t, "../../../go.sum"))
	write("main.go", "package main\n\nimport \"fmt\"\n"+imports.String()+"\nfunc main() {\n"+calls.String()+"}\n")
	cmd := exec.Command("go", "run", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "TZ=UTC")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	out = append([]byte(s.sum()+"\n"), out...)
	if *update {
		if err := os.WriteFile(s.file+".want", out, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, want := strings.Split(string(out), "\n"), strings.Split(s.want, "\n")
	name := ""
	for i := range max(len(got), len(want)) {
		g, w := at(got, i), at(want, i)
		if g != w {
			t.Errorf("%s, line %d: Go prints %s, %s.want has %s", name, i+1, g, s.file, w)
		}
		if strings.HasPrefix(g, "## ") {
			name = g
		}
	}
}

// version is that of a module in go.mod.
func version(t *testing.T, module string) string {
	t.Helper()
	for l := range strings.Lines(read(t, "../../../go.mod")) {
		if f := strings.Fields(l); len(f) > 1 && f[0] == module {
			return f[1]
		}
	}
	t.Fatal("go.mod does not mention", module)
	return ""
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return ""
}

// program makes a case a package whose Run prints what its cells ask.
func program(pkg string, w written) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n\n%s\n\nfunc Run() {\n", pkg, w.cells[0])
	for i, src := range w.cells[1:] {
		if w.asks[i+1] {
			before, question, _ := cutLast("\n"+src, "\n")
			src = before + "\nfmt.Printf(\"%q\\n\", " + question + ")"
		}
		b.WriteString(src + "\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// TestEnough keeps the suite from shrinking unnoticed, and names unique.
func TestEnough(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range slices.Concat(List(), Gonum) {
		if seen[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		seen[c.Name] = true
		if len(c.Cells) != len(c.Want) {
			t.Errorf("%s has %d cells and %d answers", c.Name, len(c.Cells), len(c.Want))
		}
	}
	if len(seen) < 240 {
		t.Errorf("%d cases", len(seen))
	}
	for name, cells := range wrong {
		for i, cause := range cells {
			if !seen[name] || cause == "" {
				t.Errorf("no case %q, cell %d, or no cause", name, i)
			}
		}
	}
}
