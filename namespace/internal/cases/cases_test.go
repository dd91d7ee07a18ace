package cases

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	update  = flag.Bool("update", false, "write more.want from what the Go compiler's programs print")
	compile = flag.Bool("compile", false, "hold more.want against what the Go compiler's programs print; about a minute")
)

// TestWantsAreOfTheseCases holds more.want against the cases it was made from.
func TestWantsAreOfTheseCases(t *testing.T) {
	first, _, _ := strings.Cut(moreWant, "\n")
	if first != sumOfCases() && !*update {
		t.Error("more.want is not of these cases: go test ./namespace/internal/cases -update")
	}
}

func sumOfCases() string {
	return fmt.Sprintf("# SHA-256 of more.txt: %x", sha256.Sum256([]byte(moreText)))
}

// TestWantsAreGos compiles the cases of more.txt with Go, as one program, and holds what it prints against
// more.want, or writes that.
func TestWantsAreGos(t *testing.T) {
	if !*update && !*compile {
		t.Skip("compiling all cases takes a minute: -compile")
	}
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
	for i, w := range parse(moreText) {
		pkg := fmt.Sprintf("c%d", i)
		write(pkg+"/case.go", program(pkg, w))
		fmt.Fprintf(&imports, "import %q\n", "cases/"+pkg)
		fmt.Fprintf(&calls, "\tfmt.Println(%q)\n\t%s.Run()\n", "## "+w.name, pkg)
	}
	write("go.mod", "module cases\n\ngo 1.26\n")
	write("main.go", "package main\n\nimport \"fmt\"\n"+imports.String()+"\nfunc main() {\n"+calls.String()+"}\n")
	cmd := exec.Command("go", "run", "-trimpath", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "TZ=UTC")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	out = append([]byte(sumOfCases()+"\n"), out...)
	if *update {
		if err := os.WriteFile("more.want", out, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, want := strings.Split(string(out), "\n"), strings.Split(moreWant, "\n")
	name := ""
	for i := range max(len(got), len(want)) {
		g, w := at(got, i), at(want, i)
		if g != w {
			t.Errorf("%s, line %d: Go prints %s, more.want has %s", name, i+1, g, w)
		}
		if strings.HasPrefix(g, "## ") {
			name = g
		}
	}
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
	for _, c := range List() {
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
