package namespace

import (
	"farm/namespace/cell"
)

// Names answers questions of people who type cells for a namespace: what a name is, and what can
// follow it. It is a picture of the items it was made from. It is not safe for concurrent use.
type Names struct {
	c   *cell.Compiler
	env *cell.Env
}

// NewNames looks at a namespace. It returns ErrCorrupt.
func NewNames(items Items) (*Names, error) {
	c, err := compilerFor(items)
	if err != nil {
		return nil, err
	}
	env, err := Env(c, items)
	if err != nil {
		return nil, err
	}
	return &Names{c, env}, nil
}

// Members lists what can stand after "path." in a cell, sorted: the allowed members of an import, the
// fields and methods of a variable, or of a field of one (path "x.f"). A path that means nothing has none.
func (n *Names) Members(path string) []string { return n.c.Members(n.env, path) }

// Describe gives the declaration of what a path names, as in "var x int" or "func f(a int) string", ""
// when it names nothing.
func (n *Names) Describe(path string) string { return n.c.Describe(n.env, path) }

// Top lists the names the namespace itself gives to cells: variables, declarations and imports, in no
// particular order.
func (n *Names) Top() []string {
	var out []string
	for name := range n.env.Vars {
		out = append(out, name)
	}
	for name := range n.env.Imports {
		out = append(out, name)
	}
	return append(out, n.env.Declared()...)
}
