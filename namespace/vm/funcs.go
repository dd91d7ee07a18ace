package vm

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ssa"

	"farm/namespace/vm/raw"
)

// FuncValue is what a function value of a machine is: its code, and what it has captured.
type FuncValue struct {
	// Name of the code: that of a function ("f", "T.M", "slices.Values[int]"), with "#1#2" for the second
	// literal in the first one in it; "bound T M" of a method value, "method T M" of a method expression.
	Name string
	// Of is the declared function or method of package main that has the code, nil for others.
	Of *types.Func
	// Literal is the outermost function literal that has the code, when it is in a function whose name
	// begins with ReservedPrefix. Name is then its path in the declaration that keeps that literal.
	Literal  *ast.FuncLit
	Types    []types.Type // that the name mentions
	Captured []Captured
}

// ReservedPrefix begins the names of functions that are run and not kept, KeptPrefix those of functions that
// are all the same.
const (
	ReservedPrefix = "__"
	KeptPrefix     = "__lit_"
)

// Captured is a variable that a function has captured, or what holds the place of one.
type Captured struct {
	Name  string
	Type  types.Type
	Value reflect.Value // addressable, a copy
}

// Describe says what a function value is. An error says why the value has no name that means anything in
// another process.
func (p *Parts) Describe(word raw.Pointer) (f FuncValue, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = p.failed(r)
		}
	}()
	fn := raw.FuncOf(word)
	if fn == nil {
		name, ok := p.natives.Load(word)
		if !ok {
			return f, errors.New("a function of compiled code that has no name")
		}
		return FuncValue{Name: name.(string)}, nil
	}
	body, ok := fn.Body.(*closureBody)
	if !ok {
		return f, errors.New("a function of compiled code that has no name")
	}
	if f, err = codeName(body.c.fn); err != nil {
		return f, err
	}
	at := loc{}
	for _, v := range body.c.fn.FreeVars {
		t := p.typeOf(v.Type())
		mem := raw.New(t.Type)
		t.store(mem, pointerAt(fn.Ptrs, at.p), pointerAt(fn.Nums, at.n))
		at = at.plus(t.size)
		f.Captured = append(f.Captured, Captured{v.Name(), v.Type(), raw.Value(t.Type, mem)})
	}
	return f, nil
}

// pointerAt is where element i of a slice is or would be.
func pointerAt[T any](s []T, i int32) raw.Pointer {
	if int(i) >= len(s) {
		return nil
	}
	return raw.PointerTo(&s[i])
}

// codeName names the code of a function.
func codeName(fn *ssa.Function) (f FuncValue, err error) {
	path, literalPath := "", ""
	var literal *ast.FuncLit
	root := fn
	for ; root.Parent() != nil; root = root.Parent() {
		if lit, ok := root.Syntax().(*ast.FuncLit); ok {
			literal, literalPath = lit, "#1"+path
		}
		for i, x := range root.Parent().AnonFuncs {
			if x == root {
				path = fmt.Sprintf("#%d%s", i+1, path)
			}
		}
	}
	obj, _ := root.Object().(*types.Func)
	if o := root.Origin(); o != nil {
		obj, _ = o.Object().(*types.Func)
	}
	if obj == nil || obj.Pkg() == nil {
		return f, errors.New("a function that has no declaration")
	}
	switch {
	case strings.HasPrefix(root.Synthetic, "bound method wrapper"):
		f.Name = "bound " + fullText(root.FreeVars[0].Type()) + " " + obj.Name()
		f.Types = []types.Type{root.FreeVars[0].Type()}
	case strings.HasPrefix(root.Synthetic, "thunk"):
		f.Name = "method " + fullText(root.Params[0].Type()) + " " + obj.Name()
		f.Types = []types.Type{root.Params[0].Type()}
	case strings.HasPrefix(obj.Name(), ReservedPrefix) && !strings.HasPrefix(obj.Name(), KeptPrefix):
		if literal == nil {
			return f, errors.New("a function of the statements of a cell that is no literal")
		}
		f.Name, f.Literal = literalPath, literal
		return f, nil
	case root.Signature.Recv() != nil && root.Origin() != nil, obj.Parent() != nil && obj.Parent() != obj.Pkg().Scope() && obj.Signature().Recv() == nil:
		return f, errors.New("a function of an instance of a generic type")
	default:
		f.Name, f.Types = shortName(obj), root.TypeArgs()
		for i, a := range root.TypeArgs() {
			f.Name += []string{"[", ","}[min(i, 1)] + fullText(a)
		}
		if len(root.TypeArgs()) > 0 {
			f.Name += "]"
		}
	}
	f.Name += path
	if obj.Pkg().Path() == MainPath && !types.IsInterface(recvType(obj)) {
		f.Of = obj
	}
	return f, nil
}

func recvType(f *types.Func) types.Type {
	r := f.Signature().Recv()
	if r == nil {
		return types.Typ[types.Int]
	}
	return r.Type()
}

// shortName is "f", "T.M" of package main, and with the path of another package before it.
func shortName(f *types.Func) string {
	name := f.Name()
	t := recvType(f)
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		name = n.Obj().Name() + "." + name
	}
	if f.Pkg().Path() != MainPath {
		name = f.Pkg().Path() + "." + name
	}
	return name
}

// DeclaredKey is the key of the declaration that a function is: "f" or "T.M".
func DeclaredKey(f *types.Func) string { return shortName(f) }

// fullText is a type with import paths in full.
func fullText(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string { return p.Path() })
}

// Make makes the function value of type rt that Describe has described. scope are the objects of parts that
// names and types may mean.
func (p *Parts) Make(rt reflect.Type, name string, captured []reflect.Value, scope []types.Object) (word raw.Pointer, err error) {
	defer func() {
		if r := recover(); r != nil {
			word, err = nil, p.failed(r)
		}
	}()
	fn, err := p.codeNamed(name, scope)
	if err != nil {
		return nil, err
	}
	if len(captured) != len(fn.FreeVars) {
		return nil, fmt.Errorf("it has captured %d variables, not %d", len(fn.FreeVars), len(captured))
	}
	if st := p.reflectOf(withoutRecv(fn.Signature)); !st.ConvertibleTo(rt) {
		return nil, fmt.Errorf("it is a %s", st)
	}
	if len(captured) == 0 {
		return p.funcValue(fn), nil
	}
	var ptrs []raw.Pointer
	var nums []uint64
	for i, v := range fn.FreeVars {
		t := p.typeOf(v.Type())
		if captured[i].Type() != t.rt {
			return nil, fmt.Errorf("it has captured a %s, not a %s", t.rt, captured[i].Type())
		}
		ps, ns := make([]raw.Pointer, t.size.p+1), make([]uint64, t.size.n+1)
		t.load(raw.PointerTo(&ps[0]), raw.PointerTo(&ns[0]), raw.ValuePointer(captured[i]))
		ptrs, nums = append(ptrs, ps[:t.size.p]...), append(nums, ns[:t.size.n]...)
	}
	return p.maker(fn.Signature).Make(p.body(fn), ptrs, nums).Value(), nil
}

// codeNamed finds the code of a name.
func (p *Parts) codeNamed(name string, scope []types.Object) (*ssa.Function, error) {
	name, path, _ := strings.Cut(name, "#")
	fn, err := p.rootNamed(name, scope)
	if err != nil || path == "" {
		return fn, err
	}
	for step := range strings.SplitSeq(path, "#") {
		i, err := strconv.Atoi(step)
		if err != nil || i < 1 || i > len(fn.AnonFuncs) {
			return nil, fmt.Errorf("it has no function literal %s", step)
		}
		fn = fn.AnonFuncs[i-1]
	}
	return fn, nil
}

func (p *Parts) rootNamed(name string, scope []types.Object) (*ssa.Function, error) {
	if kind, rest, ok := strings.Cut(name, " "); ok && (kind == "bound" || kind == "method") {
		i := strings.LastIndexByte(rest, ' ')
		if i < 0 || !token.IsIdentifier(rest[i+1:]) {
			return nil, errors.New("it is no method")
		}
		if kind == "bound" {
			return p.probe(rest[:i], "__r."+rest[i+1:], scope)
		}
		return p.probe("int", "("+rest[:i]+")."+rest[i+1:], scope)
	}
	for _, o := range scope {
		if f, ok := o.(*types.Func); ok && f.Name() == name {
			return p.Func(f), nil
		}
	}
	if t, m, ok := strings.Cut(name, "."); ok && token.IsIdentifier(t) && token.IsIdentifier(m) {
		for _, o := range scope {
			if tn, ok := o.(*types.TypeName); ok && tn.Name() == t {
				x, _, _ := types.LookupFieldOrMethod(tn.Type(), true, tn.Pkg(), m)
				if f, ok := x.(*types.Func); ok {
					return p.Func(f), nil
				}
			}
		}
	}
	return p.probe("int", name, scope)
}

// probe gives the function that an expression is, in which __r is of the type with the text.
func (p *Parts) probe(recv, expr string, scope []types.Object) (*ssa.Function, error) {
	pkg, err := p.sketch("func __probe(__r "+recv+") any { return "+expr+" }", scope)
	if err != nil {
		return nil, err
	}
	for _, b := range p.Func(pkg.Lookup("__probe").(*types.Func)).Blocks {
		for _, in := range b.Instrs {
			switch in := in.(type) {
			case *ssa.MakeClosure:
				return in.Fn.(*ssa.Function), nil
			case *ssa.MakeInterface:
				if fn, ok := in.X.(*ssa.Function); ok {
					return fn, nil
				}
			}
		}
	}
	return nil, errors.New("it is no function")
}

// TypeOf finds a type by its text, with import paths in full.
func (p *Parts) TypeOf(text string, scope []types.Object) (types.Type, reflect.Type, error) {
	pkg, err := p.sketch("type __type = "+text, scope)
	if err != nil {
		return nil, nil, err
	}
	t := types.Unalias(pkg.Lookup("__type").Type())
	rt, err := p.Reflect(t)
	return t, rt, err
}

// sketch loads a declaration in which types have their import paths in full.
func (p *Parts) sketch(decl string, scope []types.Object) (*types.Scope, error) {
	key := decl
	if s := p.sketches[key]; s != nil {
		return s, nil
	}
	src := withImports(decl)
	f, err := parser.ParseFile(token.NewFileSet(), "", src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	stripPositions(f)
	s, err := p.Load(f, scope)
	if err != nil {
		return nil, err
	}
	if p.sketches == nil || len(p.sketches) >= maxSketches {
		p.sketches = map[string]*types.Scope{}
	}
	p.sketches[key] = s
	return s, nil
}

// maxSketches is how many types and functions that were looked up by text a machine remembers.
const maxSketches = 1000

// stripPositions makes a file one without positions: those of its own file set mean nothing.
func stripPositions(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		if n == nil {
			return false
		}
		v := reflect.ValueOf(n).Elem()
		for i := range v.NumField() {
			if x := v.Field(i); x.Type() == reflect.TypeFor[token.Pos]() && x.CanSet() && x.Int() != 0 {
				x.SetInt(1)
			}
		}
		return true
	})
}

// withImports writes a declaration whose names have import paths before them as a file.
func withImports(decl string) string {
	var s scanner.Scanner
	fset := token.NewFileSet()
	s.Init(fset.AddFile("", -1, len(decl)), []byte(decl), func(token.Position, string) {}, 0)
	var toks []struct {
		tok token.Token
		lit string
	}
	for {
		_, t, lit := s.Scan()
		if t == token.EOF || t == token.SEMICOLON && lit == "\n" {
			break
		}
		if lit == "" || t.IsOperator() {
			lit = t.String()
		}
		toks = append(toks, struct {
			tok token.Token
			lit string
		}{t, lit})
	}
	is := func(i int, t token.Token) bool { return i < len(toks) && toks[i].tok == t }
	imports := map[string]string{}
	var head, body strings.Builder
	for i := 0; i < len(toks); i++ {
		path, j := toks[i].lit, i
		for is(i, token.IDENT) && is(j+2, token.IDENT) && (is(j+1, token.QUO) || is(j+1, token.PERIOD) && is(j+3, token.QUO)) {
			path += toks[j+1].lit + toks[j+2].lit // a period before a slash is of the path: gonum.org/v1
			j += 2
		}
		if is(i, token.IDENT) && is(j+1, token.PERIOD) && is(j+2, token.IDENT) && path != "__r" {
			if path != MainPath {
				if imports[path] == "" {
					imports[path] = fmt.Sprintf("__p%d", len(imports))
					fmt.Fprintf(&head, "import %s %q\n", imports[path], path)
				}
				body.WriteString(imports[path] + ".")
			}
			body.WriteString(toks[j+2].lit + " ")
			i = j + 2
			continue
		}
		body.WriteString(toks[i].lit + " ")
	}
	return "package main\n" + head.String() + body.String() + "\n"
}
