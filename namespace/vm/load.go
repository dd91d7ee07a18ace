package vm

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"regexp"
	"slices"
	"sync"

	"golang.org/x/tools/go/gcexportdata"
	"golang.org/x/tools/go/ssa"
)

// GoVersion is the version of the language that programs are in.
const GoVersion = "go1.26"

// Importer is a types.Importer of packages that are made from source and of those of compiled Go. It is
// safe for concurrent use. A program must be checked with one importer.
type Importer struct {
	mu      sync.Mutex
	fset    *token.FileSet
	export  func(path string) ([]byte, error)
	sources map[string]map[string]string
	pkgs    map[string]*types.Package
	given   map[string]*types.Package // that were made otherwise
	parsed  map[string]*source
}

// source is a package that is made from source.
type source struct {
	files []*ast.File
	info  *types.Info
}

// NewImporter makes an importer. export gives the export data of a package; sources are the files of
// those made from source; given are packages that come as they are, before any other of their path.
func NewImporter(fset *token.FileSet, export func(path string) ([]byte, error), sources map[string]map[string]string, given ...*types.Package) (*Importer, error) {
	im := &Importer{given: map[string]*types.Package{}, fset: fset, export: export, sources: sources, pkgs: map[string]*types.Package{}, parsed: map[string]*source{}}
	for _, p := range given {
		im.given[p.Path()] = p
	}
	// First of all, so that export data refers to their types. Those without any can wait until they are
	// imported: to check all that they do takes longer than anything else here.
	for _, path := range slices.Sorted(maps.Keys(sources)) {
		if !exportsTypes(sources[path]) {
			continue
		}
		if _, err := im.load(path); err != nil {
			return nil, err
		}
	}
	return im, nil
}

// typeDecl is the beginning of a declaration of exported types, or of several of which some may be.
var typeDecl = regexp.MustCompile(`(?m)^type [A-Z(]`)

// exportsTypes says that files may declare exported types.
func exportsTypes(files map[string]string) bool {
	for _, text := range files {
		if typeDecl.MatchString(text) {
			return true
		}
	}
	return false
}

// Give adds a package that was made with this importer.
func (im *Importer) Give(p *types.Package) {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.given[p.Path()] = p
}

// Import gives the package with the path.
func (im *Importer) Import(path string) (*types.Package, error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	return im.load(path)
}

type importerFunc func(path string) (*types.Package, error)

func (f importerFunc) Import(path string) (*types.Package, error) { return f(path) }

func (im *Importer) load(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if p := im.given[path]; p != nil {
		return p, nil
	}
	if p := im.pkgs[path]; p != nil && p.Complete() {
		return p, nil
	}
	if files, ok := im.sources[path]; ok {
		return im.check(path, files)
	}
	b, err := im.export(path)
	if err != nil {
		return nil, err
	}
	return gcexportdata.Read(bytes.NewReader(b), im.fset, im.pkgs, path)
}

func (im *Importer) check(path string, files map[string]string) (*types.Package, error) {
	s := &source{info: NewInfo()}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, err := parser.ParseFile(im.fset, path+"/"+name, files[name], parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		s.files = append(s.files, f)
	}
	conf := types.Config{Importer: importerFunc(im.load), GoVersion: GoVersion}
	p, err := conf.Check(path, im.fset, s.files, s.info)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", path, err)
	}
	im.pkgs[path], im.parsed[path] = p, s
	return p, nil
}

// NewInfo is an Info with all that a program is built from.
func NewInfo() *types.Info {
	return &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{}, Implicits: map[ast.Node]types.Object{}, Instances: map[*ast.Ident]types.Instance{},
		Scopes: map[ast.Node]*types.Scope{}, FileVersions: map[*ast.File]string{},
	}
}

// Build makes the program of a package that was checked with im.
func (im *Importer) Build(pkg *types.Package, files []*ast.File, info *types.Info) (*ssa.Program, *ssa.Package) {
	im.mu.Lock()
	defer im.mu.Unlock()
	prog := ssa.NewProgram(im.fset, ssa.InstantiateGenerics|ssa.BuildSerially)
	seen := map[*types.Package]bool{}
	var add func(p *types.Package)
	add = func(p *types.Package) {
		if seen[p] {
			return
		}
		seen[p] = true
		for _, q := range p.Imports() {
			add(q)
		}
		if s := im.parsed[p.Path()]; s != nil && im.pkgs[p.Path()] == p {
			prog.CreatePackage(p, s.files, s.info, true).Build()
			return
		}
		prog.CreatePackage(p, nil, nil, true)
	}
	for _, q := range pkg.Imports() {
		add(q)
	}
	for _, path := range slices.Sorted(maps.Keys(im.pkgs)) { // types may come from packages that are not imported
		add(im.pkgs[path])
	}
	sp := prog.CreatePackage(pkg, files, info, false)
	sp.Build()
	return prog, sp
}
