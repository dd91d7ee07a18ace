package cell

import (
	"go/ast"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"sort"
	"strings"
)

// check checks the package as it will be: the statements, the new declarations, and of the others what
// the engine needs and has no code for yet. Once something is redefined, every body is checked, so that
// an incompatible redefinition shows at its callers.
func (w *work) check() error {
	redefined := len(w.replaced) > 0 || len(w.changed) > 0
	if !redefined {
		for k, d := range w.env.lowered {
			w.next.lowered[k] = d
		}
	}
	seeds := map[string]bool{}
	for _, n := range w.also {
		seeds[n] = true
	}
	for _, s := range w.stmts {
		for n := range mentions(s) {
			seeds[n] = true
		}
	}
	for _, f := range w.extra {
		maps.Copy(seeds, mentions(f))
	}
	for _, d := range w.added {
		for _, n := range d.names {
			seeds[n] = true
		}
	}
	w.need = w.next.reach(seeds)
	w.nodes = map[*Decl]ast.Decl{}
	emitted := func(d *Decl) bool {
		return slices.Contains(w.added, d) || w.need.decls[d] && w.next.lowered[d.Key] == nil
	}
	body := func(d *Decl) bool { return redefined || emitted(d) }
	w.bodies = body
	node := func(d *Decl) ast.Decl {
		if !emitted(d) || w.c.to == Machine {
			return d.node
		}
		w.nodes[d] = copyTree(d.node, nil) // lowering will change it
		return w.nodes[d]
	}
	w.stmts = bind(w.stmts, w.trailing)
	w.fn = cellFuncDecl(w.stmts)
	w.file = w.decls(w.next, body, w.fn, node)
	pkg, info, list := w.c.typecheck(w.file)
	w.pkg, w.info = pkg, info
	list = slices.DeleteFunc(list, func(e types.Error) bool { return unusedCall(e, w.trailing) })
	if len(list) > 0 {
		return w.c.problem(list, info, w.file)
	}
	return nil
}

// checked is the form of a declaration that was checked.
func (w *work) checked(d *Decl) ast.Decl {
	if n := w.nodes[d]; n != nil {
		return n
	}
	return d.node
}

// fields are the fields of struct types in what was checked.
func (w *work) fields() map[*ast.Field]bool {
	if w.fieldSet == nil {
		w.fieldSet = map[*ast.Field]bool{}
		ast.Inspect(w.file, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok {
				for _, f := range s.Fields.List {
					w.fieldSet[f] = true
				}
			}
			return true
		})
	}
	return w.fieldSet
}

// keepsCallers refuses to change a type while variables hold values of it.
func (w *work) keepsCallers() error {
	for _, d := range w.added {
		if d.Kind != KindType {
			continue
		}
		old := w.env.Find(d.names[0])
		if old == nil || old.Kind != KindType {
			continue
		}
		var users []string
		for v := range w.vars {
			expr, before := w.env.Vars[v]
			if !before || slices.Contains(w.newVars, v) || expr != w.vars[v] {
				continue
			}
			if r := w.env.reach(mentions(w.env.typeNode(v))); r.decls[old] {
				users = append(users, v)
			}
		}
		if len(users) > 0 {
			sort.Strings(users)
			return w.fail(d.node.Pos(), "type %s is changed but variables still hold values of it: %s: delete or redefine them first", d.Key, strings.Join(users, ", "))
		}
	}
	return nil
}

// reached is what some code can touch: by mention, over-approximated.
type reached struct {
	decls   map[*Decl]bool
	vars    map[string]bool
	imports map[string]bool
}

// reach follows mentions from names. A type brings its methods: they may be called through an
// interface. A variable whose type has room for any type brings all types.
func (e *Env) reach(names map[string]bool) reached {
	r := reached{decls: map[*Decl]bool{}, vars: map[string]bool{}, imports: map[string]bool{}}
	var visit func(map[string]bool)
	var decl func(*Decl)
	decl = func(d *Decl) {
		if r.decls[d] {
			return
		}
		r.decls[d] = true
		visit(d.uses)
		if d.Kind != KindType {
			return
		}
		for _, n := range d.names {
			for _, m := range e.methods[n] {
				decl(m)
			}
		}
	}
	all := false
	visit = func(uses map[string]bool) {
		for n := range uses {
			if d := e.byName[n]; d != nil {
				decl(d)
			}
			if _, ok := e.Imports[n]; ok {
				r.imports[n] = true
			}
			if _, ok := e.Vars[n]; ok && !r.vars[n] {
				r.vars[n] = true
				x := e.typeNode(n)
				visit(mentions(x))
				all = all || open(x)
			}
		}
	}
	visit(names)
	for d := range r.decls {
		all = all || d.Kind == KindType && open(d.node)
	}
	if all {
		for _, d := range e.Decls {
			if d.Kind == KindType {
				decl(d)
			}
		}
	}
	return r
}

// open says that a type may hold values of types it does not name.
func open(n ast.Node) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.InterfaceType:
			found = true
		case *ast.Ident:
			found = found || n.Name == "any" || n.Name == "error"
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" {
				return false
			}
			found = true // a type of another package may have interfaces inside
		}
		return !found
	})
	return found
}

// allowed refuses members of packages that are not for cells, or that the engine does not have.
func (w *work) allowed() error { return w.allowedIn(w.info, w.pkg, w.file) }

func (w *work) allowedIn(info *types.Info, pkg *types.Package, file *ast.File) error {
	type use struct {
		pos token.Pos
		err *NotAllowedError
	}
	var first *use
	for id, o := range info.Uses {
		if o.Pkg() == nil || o.Pkg() == pkg {
			continue
		}
		if o.Pkg() == types.Unsafe && unsafeMembers[o.Name()] {
			continue
		}
		name := memberName(o)
		why := w.c.to.notMember(o.Pkg().Path() + "." + name)
		if why == "" {
			if why = w.lacking(o); why == "" {
				continue
			}
		}
		if first == nil || id.Pos() < first.pos {
			first = &use{id.Pos(), &NotAllowedError{What: o.Pkg().Path() + "." + name, Why: why, Pos: w.c.at(id.Pos())}}
		}
	}
	if first != nil {
		return first.err
	}
	if s := changesPartial(info, file); s != nil {
		return &NotAllowedError{What: "changing " + info.Uses[s.Sel].Pkg().Path() + "." + s.Sel.Name, Why: "it belongs to the host of the cell", Pos: w.c.at(s.Pos())}
	}
	return nil
}

// lacking says why a member that nobody has refused is not there all the same, "" when it is.
func (w *work) lacking(o types.Object) string {
	path := o.Pkg().Path()
	switch {
	case o.Pkg() == types.Unsafe:
		return whyNotPackage(path)
	case o.Parent() == o.Pkg().Scope() && w.c.to.lacks(path, o.Name()):
		return "the interpreter does not have it"
	}
	return ""
}

// memberName is "F" or "T.M".
func memberName(o types.Object) string {
	f, ok := o.(*types.Func)
	if !ok {
		return o.Name()
	}
	recv := f.Signature().Recv()
	if recv == nil {
		return o.Name()
	}
	t := recv.Type()
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok {
		return n.Obj().Name() + "." + o.Name()
	}
	return o.Name()
}
