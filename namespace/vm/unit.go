package vm

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"reflect"
	"strings"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// MainPath is the path of the packages that Load makes.
const MainPath = "main"

// Parts is a machine for a program that comes in parts. Each part is a package of its own to package ssa,
// and all are package main to the program: a part is checked with the objects of earlier parts in its
// scope, so that types, variables and functions are the same ones everywhere. Its methods are not safe for
// concurrent use.
type Parts struct {
	*Machine
	im    *Importer
	fset  *token.FileSet
	known map[*types.Package]bool // packages that the program has
	ctx   *types.Context

	sketches map[string]*types.Scope // what was looked up by its text
}

// NewParts makes a machine without any part. opt.Fset has the positions of the parts.
func NewParts(im *Importer, opt Options) (*Parts, error) {
	prog := ssa.NewProgram(opt.Fset, ssa.InstantiateGenerics|ssa.BuildSerially)
	m, err := New(prog, opt)
	if err != nil {
		return nil, err
	}
	return &Parts{Machine: m, im: im, fset: opt.Fset, known: map[*types.Package]bool{}, ctx: types.NewContext()}, nil
}

// Load adds a part: a file that is checked with the given objects of other parts in its scope. What its
// package variables are set to is not looked at: they begin as zero. It gives the objects that the file
// declares. An error says that the code is not valid, or beyond the machine; then nothing has changed.
func (p *Parts) Load(file *ast.File, scope []types.Object) (made *types.Scope, err error) {
	defer func() {
		if r := recover(); r != nil {
			made, err = nil, &LoadError{Msg: fmt.Sprint(r)}
		}
	}()
	pkg, info, err := p.check(file, scope)
	if err != nil && strings.Contains(err.Error(), unexportedLiteral) {
		nameFields(file, info)
		pkg, info, err = p.check(file, scope)
	}
	if err != nil {
		return nil, &LoadError{Msg: err.Error()}
	}
	p.im.link(p.prog, pkg, p.known)
	p.prog.CreatePackage(pkg, []*ast.File{file}, info, false).Build()
	before := map[types.Object]bool{}
	for _, o := range scope {
		before[o] = true
	}
	made = types.NewScope(nil, token.NoPos, token.NoPos, "")
	for _, n := range pkg.Scope().Names() {
		if o := pkg.Scope().Lookup(n); !before[o] {
			made.Insert(o)
		}
	}
	return made, nil
}

func (p *Parts) check(file *ast.File, scope []types.Object) (*types.Package, *types.Info, error) {
	pkg := types.NewPackage(MainPath, MainPath)
	for _, o := range scope {
		pkg.Scope().Insert(o)
	}
	info := NewInfo()
	var first error
	conf := types.Config{Importer: p.im, DisableUnusedImportCheck: true, GoVersion: GoVersion, Sizes: sizes, Context: p.ctx, Error: func(err error) {
		if first == nil || strings.Contains(err.Error(), unexportedLiteral) {
			first = err
		}
	}}
	_ = types.NewChecker(&conf, p.fset, pkg, info).Files([]*ast.File{file}) // the first error is there
	return pkg, info, first
}

// unexportedLiteral is what the type checker says of T{1} where T has a field that is not exported and is
// of another package. It goes by the identity of packages there, and every part is one. T{n: 1} is fine.
const unexportedLiteral = "implicit assignment to unexported field"

// nameFields writes the names of the fields into all literals of structs without them.
func nameFields(file *ast.File, info *types.Info) {
	ast.Inspect(file, func(n ast.Node) bool {
		x, ok := n.(*ast.CompositeLit)
		if !ok || len(x.Elts) == 0 || info.TypeOf(x) == nil {
			return true
		}
		t := info.TypeOf(x)
		if p, ok := t.Underlying().(*types.Pointer); ok { // of elements that are pointers
			t = p.Elem()
		}
		s, ok := t.Underlying().(*types.Struct)
		if _, named := x.Elts[0].(*ast.KeyValueExpr); !ok || named || s.NumFields() != len(x.Elts) {
			return true
		}
		for i := range s.NumFields() {
			if s.Field(i).Name() == "_" {
				return true // it has no name that could be written
			}
		}
		for i, e := range x.Elts {
			x.Elts[i] = &ast.KeyValueExpr{Key: &ast.Ident{Name: s.Field(i).Name(), NamePos: e.Pos()}, Colon: e.Pos(), Value: e}
		}
		return true
	})
}

// link adds to a program the packages that pkg needs and that are not known yet.
func (im *Importer) link(prog *ssa.Program, pkg *types.Package, known map[*types.Package]bool) {
	im.mu.Lock()
	defer im.mu.Unlock()
	var add func(p *types.Package)
	add = func(p *types.Package) {
		if known[p] {
			return
		}
		known[p] = true
		if s := im.parsed[p.Path()]; s != nil && im.pkgs[p.Path()] == p {
			for _, q := range p.Imports() {
				add(q)
			}
			prog.CreatePackage(p, s.files, s.info, true).Build()
			return
		}
		prog.CreatePackage(p, nil, nil, true)
	}
	for _, q := range pkg.Imports() {
		add(q)
	}
}

// Func is the code of a declared function.
func (p *Parts) Func(o *types.Func) *ssa.Function { return p.prog.FuncValue(o) }

// Var is the memory of a package variable, which stays where it is.
func (p *Parts) Var(o *types.Var) (v reflect.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = p.failed(r)
		}
	}()
	pkg := p.prog.Package(o.Pkg())
	g, ok := pkg.Members[o.Name()].(*ssa.Global)
	if !ok {
		return reflect.Value{}, &LoadError{Msg: "no variable " + o.Name()}
	}
	return raw.Value(p.typeOf(o.Type()).Type, p.global(g)), nil
}

// Reflect is the run-time type of a type.
func (p *Parts) Reflect(t types.Type) (rt reflect.Type, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = p.failed(r)
		}
	}()
	return p.reflectOf(t), nil
}

// TypeNamed finds a type of a package of compiled Go, exported or not.
func (p *Parts) TypeNamed(path, name string) (types.Type, reflect.Type, error) {
	pkg, err := p.im.Import(path)
	if err != nil {
		return nil, nil, err
	}
	o, ok := pkg.Scope().Lookup(name).(*types.TypeName)
	if !ok {
		return nil, nil, &LoadError{Msg: "there is no type " + path + "." + name}
	}
	rt, err := p.Reflect(o.Type())
	return o.Type(), rt, err
}

func (p *Parts) failed(r any) error {
	if e, ok := r.(*typeError); ok {
		return &LoadError{Msg: e.msg, Refused: e.refused}
	}
	return &LoadError{Msg: fmt.Sprint(r)}
}

// Static is the type that a run-time type is of, nil when there is none that a program could write.
func (p *Parts) Static(rt reflect.Type) types.Type {
	if t, ok := p.types.static.Load(raw.TypeOf(rt)); ok {
		return t.(types.Type)
	}
	t := p.staticOf(rt)
	if t != nil {
		p.types.static.Store(raw.TypeOf(rt), t)
	}
	return t
}

func (p *Parts) staticOf(rt reflect.Type) types.Type {
	if rt.Name() != "" {
		return p.declared(rt)
	}
	var key, elem types.Type
	switch rt.Kind() {
	case reflect.Map:
		if key = p.Static(rt.Key()); key == nil {
			return nil
		}
		fallthrough
	case reflect.Pointer, reflect.Slice, reflect.Array:
		if elem = p.Static(rt.Elem()); elem == nil {
			return nil
		}
	}
	switch rt.Kind() {
	case reflect.Pointer:
		return types.NewPointer(elem)
	case reflect.Slice:
		return types.NewSlice(elem)
	case reflect.Array:
		return types.NewArray(elem, int64(rt.Len()))
	case reflect.Map:
		return types.NewMap(key, elem)
	}
	return nil
}

// declared is a predeclared type, or one that a package of compiled Go exports.
func (p *Parts) declared(rt reflect.Type) types.Type {
	scope := types.Universe
	if rt.PkgPath() != "" {
		pkg, err := p.im.Import(rt.PkgPath())
		if err != nil || p.syms.Type(rt.PkgPath(), rt.Name()) != rt {
			return nil
		}
		scope = pkg.Scope()
	}
	if o, ok := scope.Lookup(rt.Name()).(*types.TypeName); ok {
		return o.Type()
	}
	return nil
}
