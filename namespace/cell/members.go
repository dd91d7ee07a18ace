package cell

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
)

// Members lists what can stand after "path." in a cell of env, sorted: the allowed members of an import,
// the fields and methods of a variable, or of a field of one (path "x.f"). It is for people who type:
// a name that means nothing has no members.
func (c *Compiler) Members(env *Env, path string) []string {
	if p := c.imported(env, path); p != nil {
		return c.importMembers(p)
	}
	o := c.lookup(env, path)
	if o == nil {
		return nil
	}
	_, isType := o.(*types.TypeName)
	pkg, _ := env.Types() // lookup has asked for it
	found := map[string]bool{}
	collect(o.Type(), pkg, found, !isType, map[types.Type]bool{})
	var out []string
	for name := range found {
		// Ambiguous and hidden ones cannot be selected.
		if m, _, _ := types.LookupFieldOrMethod(o.Type(), true, pkg, name); m != nil && c.to.notMember(memberPath(m)) == "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Describe gives the declaration of what "path" names in a cell of env, as in "var x int": a variable,
// constant, type, function, a member of an import, a field or method. It is "" when path names nothing.
func (c *Compiler) Describe(env *Env, path string) string {
	if p := c.imported(env, path); p != nil {
		return fmt.Sprintf("package %s %q", p.Name(), p.Path())
	}
	o := c.lookup(env, path)
	if o == nil {
		return ""
	}
	pkg, _ := env.Types()
	return types.ObjectString(o, func(p *types.Package) string {
		if p == pkg {
			return ""
		}
		return p.Name()
	})
}

func (c *Compiler) imported(env *Env, name string) *types.Package {
	path, ok := env.Imports[name]
	if !ok {
		return nil
	}
	p, err := c.imp.Import(path)
	if err != nil {
		return nil
	}
	return p
}

// lookup finds what a path of names means, nil when it means nothing.
func (c *Compiler) lookup(env *Env, path string) types.Object {
	pkg, err := env.Types()
	if err != nil {
		return nil
	}
	names := strings.Split(path, ".")
	o := pkg.Scope().Lookup(names[0])
	names = names[1:]
	if p := c.imported(env, strings.Split(path, ".")[0]); p != nil && len(names) > 0 {
		if !slices.Contains(c.importMembers(p), names[0]) {
			return nil
		}
		o, names = p.Scope().Lookup(names[0]), names[1:]
	} else if o == nil {
		o = types.Universe.Lookup(path)
	}
	for _, name := range names {
		if o == nil || o.Type() == nil {
			return nil
		}
		o, _, _ = types.LookupFieldOrMethod(o.Type(), true, pkg, name)
	}
	return o
}

func (c *Compiler) importMembers(p *types.Package) []string {
	var out []string
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if o.Exported() && c.to.notMember(memberPath(o)) == "" && !c.to.lacks(p.Path(), name) {
			out = append(out, name)
		}
	}
	return out
}

// memberPath is "path.F" or "path.T.M".
func memberPath(o types.Object) string {
	if o.Pkg() == nil {
		return o.Name()
	}
	return o.Pkg().Path() + "." + memberName(o)
}

// collect finds the names of fields and methods of t, those of embedded fields included.
func collect(t types.Type, pkg *types.Package, found map[string]bool, fields bool, seen map[types.Type]bool) {
	if p, ok := t.Underlying().(*types.Pointer); ok {
		t = p.Elem()
	}
	if seen[t] {
		return
	}
	seen[t] = true
	add := func(o types.Object) {
		if o.Exported() || o.Pkg() == pkg {
			found[o.Name()] = true
		}
	}
	set := types.NewMethodSet(types.NewPointer(t))
	if types.IsInterface(t) {
		set = types.NewMethodSet(t)
	}
	for m := range set.Methods() {
		add(m.Obj())
	}
	s, ok := t.Underlying().(*types.Struct)
	if !ok || !fields {
		return
	}
	for f := range s.Fields() {
		add(f)
		if f.Embedded() {
			collect(f.Type(), pkg, found, true, seen)
		}
	}
}

// Declared lists the names of declarations, methods ("T.M") left out.
func (e *Env) Declared() []string {
	var out []string
	for name := range e.byName {
		if !strings.Contains(name, ".") && name != "_" {
			out = append(out, name)
		}
	}
	return out
}
