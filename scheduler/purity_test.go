package scheduler

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// allowedImports are the packages that cannot make two replicas differ.
var allowedImports = []string{"bytes", "cmp", "encoding/binary", "errors", "fmt", "math", "slices", "strconv", "strings", "farm/internal/part", "farm/internal/wire"}

// sortedMark is the comment on a range over a map whose order is undone.
const sortedMark = "// sorted below"

// TestPurity: the package is a function of the log.
func TestPurity(t *testing.T) {
	sources := parse(t, ".", func(name string) bool { return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") })
	for _, problem := range sources.impurities(t) {
		t.Error(problem)
	}
}

// TestPurityFindsAll: each construct that the rule forbids is found.
func TestPurityFindsAll(t *testing.T) {
	got := strings.Join(parse(t, "testdata/impure", func(string) bool { return true }).impurities(t), "\n")
	for _, want := range []string{
		"impure.go:4:2: import of context", "impure.go:5:2: import of math/rand", "impure.go:6:2: import of time",
		"a go statement", "a select", "a channel", "a send", "a receive",
		"impure.go:24:2: range over a map", "impure.go:26:3: range over a map",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("not found: %s", want)
		}
	}
	if n := strings.Count(got, "range over a map"); n != 2 {
		t.Errorf("%d ranges over maps found, want 2", n)
	}
	if t.Failed() {
		t.Log(got)
	}
}

type sources struct {
	set   *token.FileSet
	files []*ast.File
}

func parse(t *testing.T, dir string, want func(name string) bool) *sources {
	t.Helper()
	s := &sources{set: token.NewFileSet()}
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.IsDir() || !want(e.Name()) {
			continue
		}
		f, err := parser.ParseFile(s.set, filepath.Join(dir, e.Name()), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		s.files = append(s.files, f)
	}
	if len(s.files) == 0 {
		t.Fatalf("no source in %s", dir)
	}
	return s
}

func (s *sources) impurities(t *testing.T) (found []string) {
	t.Helper()
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: importer.ForCompiler(s.set, "source", nil)}
	if _, err := conf.Check("scheduler", s.set, s.files, info); err != nil {
		t.Fatal(err)
	}
	report := func(n ast.Node, what string) {
		p := s.set.Position(n.Pos())
		found = append(found, fmt.Sprintf("%s:%d:%d: %s", filepath.Base(p.Filename), p.Line, p.Column, what))
	}
	for _, f := range s.files {
		marked := s.marks(f)
		for _, i := range f.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); !slices.Contains(allowedImports, path) {
				report(i, "import of "+path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				report(n, "a go statement")
			case *ast.SelectStmt:
				report(n, "a select")
			case *ast.ChanType:
				report(n, "a channel")
			case *ast.SendStmt:
				report(n, "a send")
			case *ast.UnaryExpr:
				if n.Op == token.ARROW {
					report(n, "a receive")
				}
			case *ast.RangeStmt:
				if _, isMap := info.Types[n.X].Type.Underlying().(*types.Map); isMap && !marked[s.set.Position(n.Pos()).Line] {
					report(n, "range over a map")
				}
			}
			return true
		})
	}
	return found
}

// marks are the lines with the sorted mark.
func (s *sources) marks(f *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, g := range f.Comments {
		for _, c := range g.List {
			if strings.HasPrefix(c.Text, sortedMark) {
				lines[s.set.Position(c.Pos()).Line] = true
			}
		}
	}
	return lines
}
