package layout

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "farm"

// place says what of farm a package may import. Patterns are paths in the
// module; "x/..." is x and all below it; "leaf" is any small package below
// internal (see isLeaf).
type place struct {
	pkg   string
	uses  []string
	tests []string // what its tests may use besides
}

// places is the layout: the first one whose pattern fits a package counts.
//
//	scheduler ← fsm ← replica ← cmd
//	namespace ← worker ← replica
//	api ← tasks ← internal/cluster ← internal/bench, chaos, cmd
var places = []place{
	{pkg: "api/..."},
	{pkg: "scheduler", uses: []string{"internal/wire", "internal/part"}},
	{pkg: "fsm", uses: []string{"scheduler", "leaf"}},
	{pkg: "replica/consensus", uses: []string{"leaf"}, tests: []string{"fsm", "scheduler"}},
	{pkg: "replica/...", uses: []string{"replica/...", "fsm", "scheduler", "worker", "namespace", "api", "leaf"}, tests: []string{"tasks"}},
	{pkg: "namespace/...", uses: []string{"namespace/...", "internal/wire", "internal/ask"}, tests: []string{"internal/zoo", "internal/heap"}},
	{pkg: "worker/...", uses: []string{"worker/...", "namespace/...", "api", "leaf"}},
	{pkg: "tasks/taskstest", uses: []string{"tasks", "replica/form", "replica/roster", "scheduler", "api", "leaf"}, tests: []string{"tasks/..."}},
	{pkg: "tasks/...", uses: []string{"tasks/...", "api", "leaf"}},
	{pkg: "internal/cluster", uses: []string{"tasks", "api", "leaf"}},
	{pkg: "internal/bench", uses: []string{"internal/cluster", "tasks", "api", "leaf"}},
	{pkg: "internal/carry", uses: []string{"api", "leaf"}},
	{pkg: "internal/attach", uses: []string{"api"}},
	{pkg: "internal/ask", uses: []string{"api", "leaf"}},
	{pkg: "internal/...", uses: []string{"leaf"}},
	{pkg: "chaos/sim/...", uses: []string{"chaos/sim/...", "replica/roster", "fsm", "scheduler", "api", "leaf"}},
	{pkg: "chaos/...", uses: []string{"chaos/...", "tasks", "internal/cluster", "api", "leaf"}, tests: []string{"namespace", "namespace/live"}},
	{pkg: "embedded", uses: []string{"replica", "worker", "tasks"}},
	{pkg: "examples/...", uses: []string{"examples/...", "tasks", "embedded"}, tests: []string{"internal/cluster", "tasks/taskstest"}},
	{pkg: "cmd/...", uses: []string{"cmd/...", "chaos", "internal/...", "replica", "worker", "namespace", "tasks", "api"}, tests: []string{"tasks/taskstest/conform"}},
}

// harness are the packages below internal that are not leaves: they start and
// drive whole farms.
var harness = []string{"internal/cluster", "internal/bench"}

func isLeaf(pkg string) bool {
	return strings.HasPrefix(pkg, "internal/") && !slices.Contains(harness, pkg)
}

// outside says which packages may import which modules. Every module that the
// source mentions has a line; docs/decisions says why it is here at all.
var outside = map[string][]string{
	"github.com/hashicorp/raft":        {"fsm", "replica/...", "chaos/sim"},
	"github.com/hashicorp/go-hclog":    {"fsm", "replica/consensus"},
	"go.etcd.io/bbolt":                 {"fsm", "replica/consensus"},
	"github.com/hashicorp/raft-boltdb": {"replica/consensus"},
	"github.com/hashicorp/raft-wal":    {"replica/consensus"},
	"github.com/traefik/yaegi":         {"namespace/..."},
	"golang.org/x/tools":               {"namespace/..."},
	"gonum.org/v1/gonum":               {"namespace/vm/gonum", "namespace/live"},
	"github.com/bufbuild/protocompile": {"api/generate"},
	"google.golang.org/protobuf":       {"api/...", "replica", "replica/form", "replica/roster", "worker", "tasks", "tasks/taskstest", "internal/...", "chaos/sim", "cmd/..."},
	"google.golang.org/grpc":           {"api", "replica", "tasks", "tasks/taskstest", "worker", "internal/...", "chaos/...", "cmd/..."},
	"github.com/urfave/cli":            {"cmd/..."},
	"golang.org/x/net":                 {"replica"},
	"golang.org/x/term":                {"cmd/...", "internal/prompt"},
	"golang.org/x/sys":                 {"..."},
	"golang.org/x/sync":                {"..."},
}

// testOnly are modules that tests, and chaos, may import.
var testOnly = []string{"pgregory.net/rapid", "go.uber.org/goleak", "github.com/anishathalye/porcupine", "github.com/hashicorp/raft-boltdb"}

// pure are the standard packages the scheduler, and what it imports, may use:
// none of them knows the clock, chance, files, the network or goroutines.
var pure = []string{
	"bytes", "cmp", "container/heap", "crypto/sha256", "encoding/binary", "errors", "fmt", "hash/crc32", "iter", "maps",
	"math", "math/bits", "slices", "sort", "strconv", "strings", "unicode/utf8",
}

// engineFree are packages that clients link: none of them may bring in the
// interpreter, however far away.
var engineFree = []string{"tasks", "api", "namespace", "namespace/cell", "namespace/value", "namespace/typeinfo", "scheduler", "fsm"}

const engineModule = "github.com/traefik/yaegi"

// fits tells whether a pattern of the tables covers a package of the module.
func fits(pattern, pkg string) bool {
	switch {
	case pattern == "leaf":
		return isLeaf(pkg)
	case pattern == "...":
		return true
	case strings.HasSuffix(pattern, "/..."):
		root := strings.TrimSuffix(pattern, "/...")
		return pkg == root || strings.HasPrefix(pkg, root+"/")
	}
	return pattern == pkg
}

func fitsAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return fits(p, pkg) })
}

// imports of one package: import path to the file that has it.
type imports struct {
	code, tests map[string]string
}

func TestImportsRunOneWay(t *testing.T) {
	for _, v := range violations(load(t)) {
		t.Error(v)
	}
}

// violations checks packages against the tables, in a stable order.
func violations(pkgs map[string]imports) []string {
	var out []string
	for _, pkg := range slices.Sorted(maps.Keys(pkgs)) {
		i := slices.IndexFunc(places, func(p place) bool { return fits(p.pkg, pkg) })
		if i < 0 {
			out = append(out, fmt.Sprintf("package %s has no place in the table", pkg))
			continue
		}
		p := places[i]
		out = append(out, checkFiles(pkg, pkgs[pkg].code, p.uses, false)...)
		out = append(out, checkFiles(pkg, pkgs[pkg].tests, slices.Concat(p.uses, p.tests), true)...)
	}
	return append(out, engineLinks(pkgs)...)
}

func checkFiles(pkg string, files map[string]string, uses []string, test bool) []string {
	var out []string
	for _, imp := range slices.Sorted(maps.Keys(files)) {
		if why := refusal(pkg, imp, uses, test); why != "" {
			out = append(out, fmt.Sprintf("%s: %s imports %s: %s", files[imp], pkg, imp, why))
		}
	}
	return out
}

// refusal says why pkg may not import imp, "" when it may.
func refusal(pkg, imp string, uses []string, test bool) string {
	if own, ok := strings.CutPrefix(imp, module+"/"); ok {
		if own != pkg && !fitsAny(uses, own) {
			return fmt.Sprintf("it may import of farm only %q", uses)
		}
		return ""
	}
	if !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
		if !test && (pkg == "scheduler" || pkg == "internal/wire" || pkg == "internal/part") && !slices.Contains(pure, imp) {
			return "it must stay a pure function of its input"
		}
		return ""
	}
	within := func(mod string) bool { return imp == mod || strings.HasPrefix(imp, mod+"/") }
	if (test || fits("chaos/...", pkg)) && slices.ContainsFunc(testOnly, within) {
		return ""
	}
	for mod, users := range outside {
		if within(mod) {
			if fitsAny(users, pkg) {
				return ""
			}
			return fmt.Sprintf("that module is for %q", users)
		}
	}
	return "that module has no line in the table, or is for other kinds of files"
}

// engineLinks follows the imports of packages that must not link the engine.
func engineLinks(pkgs map[string]imports) []string {
	var out []string
	for _, from := range engineFree {
		seen := map[string]bool{}
		var visit func(pkg string, way []string)
		visit = func(pkg string, way []string) {
			if seen[pkg] {
				return
			}
			seen[pkg] = true
			for _, imp := range slices.Sorted(maps.Keys(pkgs[pkg].code)) {
				if strings.HasPrefix(imp, engineModule) {
					out = append(out, fmt.Sprintf("%s links the engine: %s", from, strings.Join(append(way, imp), " → ")))
				}
				if own, ok := strings.CutPrefix(imp, module+"/"); ok {
					visit(own, append(slices.Clone(way), own))
				}
			}
		}
		visit(from, []string{from})
	}
	return out
}

// load reads the imports of every Go file of the module, whatever its build
// constraints.
func load(t *testing.T) map[string]imports {
	t.Helper()
	root := moduleRoot(t)
	pkgs := map[string]imports{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if file != root && skip(file, d.Name()) {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(file, ".go"):
			return nil
		}
		return readImports(pkgs, root, file)
	})
	if err != nil {
		t.Fatal(err)
	}
	return pkgs
}

// skip is true for folders that the go command does not read as part of this
// module.
func skip(dir, name string) bool {
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func readImports(pkgs map[string]imports, root, file string) error {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return err
	}
	rel = filepath.ToSlash(rel)
	pkg := path.Dir(rel)
	if _, ok := pkgs[pkg]; !ok {
		pkgs[pkg] = imports{code: map[string]string{}, tests: map[string]string{}}
	}
	into := pkgs[pkg].code
	if strings.HasSuffix(rel, "_test.go") {
		into = pkgs[pkg].tests
	}
	for _, spec := range f.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		into[imp] = rel
	}
	return nil
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above this test")
		}
		dir = up
	}
}

// The check sees what it is for: each of these must be refused.
func TestViolationsAreSeen(t *testing.T) {
	for _, c := range []struct{ pkg, imp, want string }{
		{"scheduler", "time", "must stay a pure function"},
		{"scheduler", "farm/fsm", "may import of farm only"},
		{"fsm", "farm/replica", "may import of farm only"},
		{"fsm", "farm/internal/cluster", "may import of farm only"},
		{"tasks", "farm/scheduler", "may import of farm only"},
		{"tasks", "farm/namespace", "may import of farm only"},
		{"namespace/cell", "farm/worker", "may import of farm only"},
		{"worker", "farm/replica", "may import of farm only"},
		{"api", "farm/tasks", "may import of farm only"},
		{"chaos", "farm/fsm", "may import of farm only"},
		{"replica", "farm/cmd/farm", "may import of farm only"},
		{"worker", "github.com/traefik/yaegi/interp", "that module is for"},
		{"tasks", "github.com/hashicorp/raft", "that module is for"},
		{"replica", "example.com/new", "has no line in the table"},
		{"fsm", "pgregory.net/rapid", "has no line in the table"},
		{"extra", "fmt", "has no place in the table"},
		{"namespace/value", "github.com/traefik/yaegi/interp", "links the engine: namespace/value → "},
	} {
		got := violations(map[string]imports{c.pkg: {code: map[string]string{c.imp: "x.go"}}})
		if len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s importing %s: got %q, want %q", c.pkg, c.imp, got, c.want)
		}
	}
}

// An engine that is reached over another package is seen too.
func TestEngineIsSeenFromAfar(t *testing.T) {
	got := violations(map[string]imports{
		"namespace":       {code: map[string]string{"farm/namespace/yaegi": "a.go"}},
		"namespace/yaegi": {code: map[string]string{"github.com/traefik/yaegi/interp": "b.go"}},
	})
	want := "namespace links the engine: namespace → namespace/yaegi → github.com/traefik/yaegi/interp"
	if !slices.Equal(got, []string{want}) {
		t.Fatalf("got %q, want only %q", got, want)
	}
}
