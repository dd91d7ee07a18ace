package cell

import (
	"encoding/hex"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxInstances bounds the instances of generic declarations one cell may need: instantiation can recur
// for ever (func F[T any]() { F[[]T]() }).
const maxInstances = 200

// mono replaces generic declarations by an instance for each list of type arguments, so that engines
// never see type parameters. Instances are made from source: type parameters become type expressions.
// The result is checked again, which gives exact types for lowering.
type mono struct {
	w     *work
	extra map[string]string // imports needed beside those of the namespace
	done  map[string]string // instance -> name
	queue []instance
	made  []madeInstance
	err   error
}

type instance struct {
	name string
	path string // package
	base string // name of the generic declaration
	args []string
}

type madeInstance struct {
	key   string
	hash  Hash
	nodes []ast.Decl
}

// scope is where a tree being copied comes from.
type scope struct {
	info   *types.Info
	self   *types.Package
	params map[*types.TypeParam]string
	lib    bool
}

// monomorphize does nothing for code without generics.
func (w *work) monomorphize() error {
	if !w.usesGenerics() {
		return nil
	}
	m := &mono{w: w, extra: map[string]string{}, done: map[string]string{}}
	w.mono = m
	sc := &scope{info: w.info, self: w.pkg}
	f := &ast.File{Name: ast.NewIdent("main"), Package: w.c.none}
	for _, d := range w.next.Decls {
		if d.generic() {
			continue
		}
		n := w.nodes[d]
		emitted := n != nil
		if !emitted {
			n = d.header()
		}
		before := len(m.done)
		n = copyTree(n, m.sub(sc))
		if emitted {
			w.nodes[d] = n
			w.genericUse[d] = len(m.done) > before
		}
		f.Decls = append(f.Decls, n)
	}
	w.fn = copyTree(w.fn, m.sub(sc))
	f.Decls = append(f.Decls, w.fn)
	for i, x := range w.extra {
		w.extra[i] = copyTree(x, m.sub(sc))
		f.Decls = append(f.Decls, w.extra[i])
	}
	vars := m.varDecls(sc)
	f.Decls = append(f.Decls, vars...)
	for len(m.queue) > 0 && m.err == nil {
		in := m.queue[0]
		m.queue = m.queue[1:]
		m.make(in)
	}
	if m.err != nil {
		return m.err
	}
	for _, in := range m.made {
		f.Decls = append(f.Decls, in.nodes...)
	}
	imports := w.next.importDecl().(*ast.GenDecl)
	for _, n := range slices.Sorted(maps.Keys(m.extra)) {
		imports.Specs = append(imports.Specs, importSpec(n, m.extra[n]))
	}
	f.Decls = append([]ast.Decl{imports}, f.Decls...)
	for _, s := range imports.Specs {
		f.Imports = append(f.Imports, s.(*ast.ImportSpec))
	}
	pkg, info, list := w.c.typecheck(f)
	for _, e := range list {
		if w.trailing != nil && e.Pos == w.trailing.Pos() && strings.Contains(e.Msg, "is not used") {
			continue
		}
		return &NotAllowedError{What: "this use of generic code", Why: "it cannot be specialised: " + e.Msg, Pos: w.c.at(e.Pos)}
	}
	w.pkg, w.info = pkg, info
	return nil
}

func importSpec(name, path string) *ast.ImportSpec {
	return &ast.ImportSpec{Name: ast.NewIdent(name), Path: &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(path)}}
}

// usesGenerics says that what is to be emitted mentions a generic declaration.
func (w *work) usesGenerics() bool {
	if len(w.info.Instances) == 0 {
		return false
	}
	for d := range w.need.decls {
		if d.generic() {
			return true
		}
	}
	found := false
	see := func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if _, ok := w.info.Instances[id]; ok {
				found = true
			}
		}
		return !found
	}
	for _, n := range w.nodes {
		ast.Inspect(n, see)
	}
	ast.Inspect(w.fn, see)
	for _, f := range w.extra {
		ast.Inspect(f, see)
	}
	return found
}

// varDecls declares all variables of the namespace in their specialised types.
func (m *mono) varDecls(sc *scope) []ast.Decl {
	var out []ast.Decl
	for _, n := range slices.Sorted(maps.Keys(m.w.next.Vars)) {
		x := m.expr(m.typeText(m.w.pkg.Scope().Lookup(n).Type(), sc), m.w.c.none)
		out = append(out, &ast.GenDecl{Tok: token.VAR, TokPos: m.w.c.none, Specs: []ast.Spec{
			&ast.ValueSpec{Names: []*ast.Ident{ast.NewIdent(n)}, Type: x}}})
	}
	return out
}

// sub gives the replacement of a node when a tree of scope sc is copied.
func (m *mono) sub(sc *scope) func(ast.Node) ast.Node {
	return func(n ast.Node) ast.Node {
		switch n := n.(type) {
		case *ast.IndexExpr:
			return m.instanceOf(n.X, sc)
		case *ast.IndexListExpr:
			return m.instanceOf(n.X, sc)
		case *ast.SelectorExpr:
			if _, ok := n.X.(*ast.Ident); ok {
				return m.instanceOf(n, sc)
			}
		case *ast.Ident:
			return m.ident(n, sc)
		case *ast.Field:
			if len(n.Names) == 0 {
				return m.embedded(n, sc)
			}
		}
		return nil
	}
}

// embedded refuses generic types as embedded fields: their field name would change.
func (m *mono) embedded(f *ast.Field, sc *scope) ast.Node {
	t := f.Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	var id *ast.Ident
	switch x := t.(type) {
	case *ast.IndexExpr:
		id, _ = x.X.(*ast.Ident)
	case *ast.IndexListExpr:
		id, _ = x.X.(*ast.Ident)
	}
	if id == nil {
		return nil
	}
	if o, ok := sc.info.Uses[id].(*types.TypeName); ok && o.Pkg() == sc.self && m.isField(f) {
		m.fail(f.Pos(), "an embedded generic type", "the interpreter cannot run it: give the field a name")
	}
	return nil
}

// isField tells an embedded field from an unnamed parameter or result, which is of any type.
func (m *mono) isField(f *ast.Field) bool { return m.w.fields()[f] }

func (m *mono) fail(pos token.Pos, what, why string) {
	if m.err == nil {
		m.err = &NotAllowedError{What: what, Why: why, Pos: m.w.c.at(pos)}
	}
}

func (m *mono) ident(id *ast.Ident, sc *scope) ast.Node {
	if _, ok := sc.info.Instances[id]; ok {
		return m.instanceOf(id, sc)
	}
	switch o := sc.info.Uses[id].(type) {
	case *types.TypeName:
		if p, ok := o.Type().(*types.TypeParam); ok {
			if text, ok := sc.params[p]; ok {
				return m.expr(text, id.Pos())
			}
		}
	case *types.PkgName:
		if sc.lib {
			return &ast.Ident{Name: m.alias(o.Imported()), NamePos: id.Pos()}
		}
	}
	return nil
}

// instanceOf gives the replacement of a generic function or type with its arguments.
func (m *mono) instanceOf(x ast.Expr, sc *scope) ast.Node {
	var id *ast.Ident
	switch x := ast.Unparen(x).(type) {
	case *ast.Ident:
		id = x
	case *ast.SelectorExpr:
		id = x.Sel
	default:
		return nil
	}
	inst, ok := sc.info.Instances[id]
	if !ok {
		return nil
	}
	o := sc.info.Uses[id]
	if o == nil || o.Pkg() == nil {
		return nil
	}
	if t, ok := o.(*types.TypeName); ok {
		return m.expr(m.typeText(types.NewPointer(inst.Type), sc)[1:], t.Pos())
	}
	var args []string
	for t := range inst.TypeArgs.Types() {
		args = append(args, m.typeText(t, sc))
	}
	return &ast.Ident{Name: m.request(m.home(o, sc), o.Name(), args), NamePos: id.Pos()}
}

// home is the package path of a generic declaration, "" for the namespace.
func (m *mono) home(o types.Object, sc *scope) string {
	if o.Pkg() == sc.self && !sc.lib {
		return ""
	}
	return o.Pkg().Path()
}

// request gives the name of an instance, to be made.
func (m *mono) request(path, base string, args []string) string {
	key := path + "." + base + "[" + strings.Join(args, ";") + "]"
	if n, ok := m.done[key]; ok {
		return n
	}
	h := hashOf(key)
	name := Reserved + base + "_" + hex.EncodeToString(h[:5])
	m.done[key] = name
	if len(m.done) > maxInstances {
		m.fail(m.w.c.none, "this use of generic code", fmt.Sprintf("it needs more than %d instances", maxInstances))
		return name
	}
	m.queue = append(m.queue, instance{name: name, path: path, base: base, args: args})
	return name
}

func (m *mono) make(in instance) {
	if in.path != "" {
		m.makeLibrary(in)
		return
	}
	d := m.w.next.Find(in.base)
	if d == nil {
		m.fail(m.w.c.none, in.base, "its declaration is not found")
		return
	}
	if len(d.names) > 1 {
		m.fail(d.node.Pos(), "a generic type in a group", "declare it on its own")
		return
	}
	sc := &scope{info: m.w.info, self: m.w.pkg}
	hash := []string{"instance", in.name, d.Source}
	var nodes []ast.Decl
	switch n := m.w.checked(d).(type) {
	case *ast.FuncDecl:
		nodes = []ast.Decl{m.function(n, in, sc)}
	case *ast.GenDecl:
		spec := n.Specs[0].(*ast.TypeSpec)
		sc.params = paramsOf(spec.TypeParams, in.args, sc.info)
		nodes = []ast.Decl{&ast.GenDecl{Tok: token.TYPE, TokPos: n.TokPos, Specs: []ast.Spec{&ast.TypeSpec{
			Name: &ast.Ident{Name: in.name, NamePos: spec.Name.Pos()}, Type: copyTree(spec.Type, m.sub(sc))}}}}
		for _, md := range m.w.next.methods[in.base] {
			hash = append(hash, md.Source)
			nodes = append(nodes, m.method(m.w.checked(md).(*ast.FuncDecl), in))
		}
	}
	m.made = append(m.made, madeInstance{key: in.name, hash: hashOf(hash...), nodes: nodes})
}

func (m *mono) function(fd *ast.FuncDecl, in instance, sc *scope) *ast.FuncDecl {
	sc.params = paramsOf(fd.Type.TypeParams, in.args, sc.info)
	x := *fd
	ft := *fd.Type
	ft.TypeParams = nil
	x.Type = copyTree(&ft, m.sub(sc))
	x.Body = copyTree(fd.Body, m.sub(sc))
	x.Name = &ast.Ident{Name: in.name, NamePos: fd.Name.Pos()}
	return &x
}

func (m *mono) method(fd *ast.FuncDecl, in instance) *ast.FuncDecl {
	sc := &scope{info: m.w.info, self: m.w.pkg, params: map[*types.TypeParam]string{}}
	var recv ast.Expr = &ast.Ident{Name: in.name, NamePos: fd.Pos()}
	t := ast.Unparen(fd.Recv.List[0].Type)
	if s, ok := t.(*ast.StarExpr); ok {
		recv = &ast.StarExpr{Star: s.Star, X: recv}
		t = ast.Unparen(s.X)
	}
	var ids []ast.Expr
	switch x := t.(type) {
	case *ast.IndexExpr:
		ids = []ast.Expr{x.Index}
	case *ast.IndexListExpr:
		ids = x.Indices
	}
	for i, x := range ids {
		if id, ok := x.(*ast.Ident); ok && i < len(in.args) {
			if o := sc.info.Defs[id]; o != nil {
				if p, ok := o.Type().(*types.TypeParam); ok {
					sc.params[p] = in.args[i]
				}
			}
		}
	}
	x := *fd
	x.Recv = &ast.FieldList{List: []*ast.Field{{Names: copyIdents(fd.Recv.List[0].Names), Type: recv}}}
	x.Type = copyTree(fd.Type, m.sub(sc))
	x.Body = copyTree(fd.Body, m.sub(sc))
	return &x
}

func copyIdents(ids []*ast.Ident) (out []*ast.Ident) {
	for _, id := range ids {
		out = append(out, &ast.Ident{Name: id.Name, NamePos: id.Pos()})
	}
	return out
}

func paramsOf(list *ast.FieldList, args []string, info *types.Info) map[*types.TypeParam]string {
	out := map[*types.TypeParam]string{}
	i := 0
	if list == nil {
		return out
	}
	for _, f := range list.List {
		for _, id := range f.Names {
			if o := info.Defs[id]; o != nil && i < len(args) {
				if p, ok := o.Type().(*types.TypeParam); ok {
					out[p] = args[i]
				}
			}
			i++
		}
	}
	return out
}

// makeLibrary makes an instance of a function of this package's library.
func (m *mono) makeLibrary(in instance) {
	lib := library()
	p := lib[in.path]
	var fd *ast.FuncDecl
	if p != nil {
		fd = p.funcs[in.base]
	}
	if fd == nil {
		m.fail(m.w.c.none, in.path+"."+in.base, "the interpreter does not have it")
		return
	}
	sc := &scope{info: p.info, self: p.pkg, lib: true}
	n := m.function(fd, in, sc)
	n = copyTree(n, func(n ast.Node) ast.Node { return nil })
	stripPos(n, m.w.c.none)
	m.made = append(m.made, madeInstance{key: in.name, hash: hashOf("library", in.name), nodes: []ast.Decl{n}})
}

// expr parses the text of a type made here; all positions become pos.
func (m *mono) expr(text string, pos token.Pos) ast.Expr {
	x, err := parser.ParseExpr(text)
	if err != nil {
		m.fail(pos, "the type "+text, "it cannot be written down")
		return &ast.Ident{Name: "int", NamePos: pos}
	}
	stripPos(x, pos)
	return x
}

// alias is the local name of a package in specialised code.
func (m *mono) alias(p *types.Package) string {
	for _, n := range slices.Sorted(maps.Keys(m.w.next.Imports)) {
		if m.w.next.Imports[n] == p.Path() {
			return n
		}
	}
	n := Reserved + "p_" + strings.NewReplacer("/", "_", ".", "_").Replace(p.Path())
	m.extra[n] = p.Path()
	return n
}
