package cell

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
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

// Kind says what a declaration declares.
type Kind byte

// The kinds of declarations. The numbers are stored.
const (
	KindType   Kind = 1
	KindFunc   Kind = 2
	KindMethod Kind = 3
	KindConst  Kind = 4
)

func (k Kind) String() string {
	switch k {
	case KindType:
		return "type"
	case KindFunc:
		return "func"
	case KindMethod:
		return "method"
	case KindConst:
		return "const"
	}
	return "kind " + strconv.Itoa(int(k))
}

// Decl is one top-level declaration of a namespace. It is not changed once made.
type Decl struct {
	Key     string // "f", "T", "T.M", "A,B" for a group
	Kind    Kind
	Ordinal int // declarations are read in this order
	Source  string

	names []string        // the names of Key, "T.M" for a method
	node  ast.Decl        // positions are in the compiler's file set
	uses  map[string]bool // identifiers mentioned anywhere in it
}

// Env is the static side of a namespace: what a cell can see before it runs. It is not changed once
// made; a cell makes a new one.
type Env struct {
	Imports map[string]string // local name -> path
	Decls   []*Decl           // by ordinal
	Vars    map[string]string // name -> type expression

	c       *Compiler
	byName  map[string]*Decl    // by each name a declaration has
	methods map[string][]*Decl  // by type name
	varNode map[string]ast.Expr // parsed types of Vars, filled on demand
	hash    Hash
	types   *types.Package // headers and variables, filled on demand
	lowered map[string]*engineDecl
}

// Hash identifies an Env or a definition by content.
type Hash [16]byte

func hashOf(parts ...string) (h Hash) {
	d := sha256.New()
	var n [8]byte
	for _, p := range parts {
		binary.LittleEndian.PutUint64(n[:], uint64(len(p)))
		d.Write(n[:])
		d.Write([]byte(p))
	}
	d.Sum(n[:0:0])
	copy(h[:], d.Sum(nil))
	return h
}

// Env makes an environment from its parts, as stored. Only Key, Kind, Ordinal and Source of the
// declarations are read. It returns an error when a part does not parse.
func (c *Compiler) Env(imports map[string]string, decls []Decl, vars map[string]string) (*Env, error) {
	list := make([]*Decl, 0, len(decls))
	for _, d := range decls {
		p, err := c.parseDecl(d)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	for n, t := range vars {
		if !token.IsIdentifier(n) {
			return nil, fmt.Errorf("variable %q: not an identifier", n)
		}
		if _, err := parser.ParseExpr(t); err != nil {
			return nil, fmt.Errorf("type of variable %s: %w", n, err)
		}
	}
	return c.newEnv(maps.Clone(imports), list, maps.Clone(vars)), nil
}

func (c *Compiler) newEnv(imports map[string]string, decls []*Decl, vars map[string]string) *Env {
	if imports == nil {
		imports = map[string]string{}
	}
	if vars == nil {
		vars = map[string]string{}
	}
	slices.SortFunc(decls, func(a, b *Decl) int { return cmp.Or(a.Ordinal-b.Ordinal, strings.Compare(a.Key, b.Key)) })
	e := &Env{
		Imports: imports, Decls: decls, Vars: vars, c: c,
		byName: map[string]*Decl{}, methods: map[string][]*Decl{}, varNode: map[string]ast.Expr{},
		lowered: map[string]*engineDecl{},
	}
	parts := make([]string, 0, 2*len(imports)+2*len(decls)+2*len(vars)+2)
	for _, n := range slices.Sorted(maps.Keys(imports)) {
		parts = append(parts, n, imports[n])
	}
	parts = append(parts, "")
	for _, d := range decls {
		for _, n := range d.names {
			e.byName[n] = d
		}
		if d.Kind == KindMethod {
			t, _, _ := strings.Cut(d.Key, ".")
			e.methods[t] = append(e.methods[t], d)
		}
		parts = append(parts, d.Key, d.Source)
	}
	parts = append(parts, "")
	for _, n := range slices.Sorted(maps.Keys(vars)) {
		parts = append(parts, n, vars[n])
	}
	e.hash = hashOf(parts...)
	return e
}

// Hash identifies the content of the environment.
func (e *Env) Hash() Hash { return e.hash }

// Find gives the declaration that declares name ("T.M" for a method), or nil.
func (e *Env) Find(name string) *Decl { return e.byName[name] }

// NeedsType says that the declaration named from reaches the type that is declared under the key typ: values
// made by its code may be of that type.
func (e *Env) NeedsType(from, typ string) bool {
	t := e.byName[strings.Split(typ, ",")[0]]
	return t != nil && t.Kind == KindType && e.reach(map[string]bool{from: true}).decls[t]
}

func (c *Compiler) parseDecl(d Decl) (*Decl, error) {
	f, err := parser.ParseFile(c.fset, d.Key+"/"+BaseFile, "package main;/*line :1:1*/"+d.Source, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("declaration %s: %w", d.Key, err)
	}
	if len(f.Decls) != 1 {
		return nil, fmt.Errorf("declaration %s: %d declarations", d.Key, len(f.Decls))
	}
	p := newDecl(f.Decls[0], d.Source, d.Ordinal)
	if p == nil || p.Key != d.Key || p.Kind != d.Kind {
		return nil, fmt.Errorf("declaration %s: its source declares something else", d.Key)
	}
	return p, nil
}

// newDecl describes a parsed declaration; nil when it declares nothing.
func newDecl(n ast.Decl, src string, ordinal int) *Decl {
	d := &Decl{Source: src, Ordinal: ordinal, node: n, uses: mentions(n)}
	switch x := n.(type) {
	case *ast.FuncDecl:
		d.Kind, d.names = KindFunc, []string{x.Name.Name}
		if x.Recv != nil {
			d.Kind, d.names = KindMethod, []string{receiver(x) + "." + x.Name.Name}
		}
	case *ast.GenDecl:
		for _, s := range x.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				d.Kind = KindType
				d.names = append(d.names, s.Name.Name)
			case *ast.ValueSpec:
				d.Kind = KindConst
				for _, id := range s.Names {
					if id.Name != "_" {
						d.names = append(d.names, id.Name)
					}
				}
			}
		}
	}
	if len(d.names) == 0 {
		return nil
	}
	d.Key = strings.Join(d.names, ",")
	return d
}

// receiver is the name of a method's type, "?" when it is not a name.
func receiver(fd *ast.FuncDecl) string {
	if len(fd.Recv.List) == 0 {
		return "?"
	}
	t := fd.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.ParenExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return "?"
		}
	}
}

// mentions collects all identifiers under a node: more than it refers to (fields, locals), never less.
func mentions(n ast.Node) map[string]bool {
	m := map[string]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			m[id.Name] = true
		}
		return true
	})
	return m
}

// generic says that a declaration has type parameters.
func (d *Decl) generic() bool {
	switch x := d.node.(type) {
	case *ast.FuncDecl:
		if x.Recv == nil {
			return x.Type.TypeParams != nil
		}
		g := false
		ast.Inspect(x.Recv, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.IndexExpr, *ast.IndexListExpr:
				g = true
			}
			return true
		})
		return g
	case *ast.GenDecl:
		for _, s := range x.Specs {
			if t, ok := s.(*ast.TypeSpec); ok && t.TypeParams != nil {
				return true
			}
		}
	}
	return false
}

// header is the declaration without function body: enough to check its users.
func (d *Decl) header() ast.Decl {
	fd, ok := d.node.(*ast.FuncDecl)
	if !ok || d.generic() {
		return d.node
	}
	x := *fd
	x.Body = nil
	return &x
}

func (e *Env) importDecl() ast.Decl { return e.c.imports(e.Imports) }

// imports is the declaration of imports, local name → path.
func (c *Compiler) imports(list map[string]string) *ast.GenDecl {
	g := &ast.GenDecl{Tok: token.IMPORT, TokPos: c.none, Lparen: c.none, Rparen: c.none}
	for _, n := range slices.Sorted(maps.Keys(list)) {
		g.Specs = append(g.Specs, &ast.ImportSpec{
			Name: ast.NewIdent(n),
			Path: &ast.BasicLit{Kind: token.STRING, Value: strconv.Quote(list[n])},
		})
	}
	return g
}

// varDecl declares the variables with their types, nil when there are none.
func (e *Env) varDecl() ast.Decl {
	if len(e.Vars) == 0 {
		return nil
	}
	g := &ast.GenDecl{Tok: token.VAR, TokPos: e.c.none, Lparen: e.c.none, Rparen: e.c.none}
	for _, n := range slices.Sorted(maps.Keys(e.Vars)) {
		g.Specs = append(g.Specs, &ast.ValueSpec{Names: []*ast.Ident{ast.NewIdent(n)}, Type: e.typeNode(n)})
	}
	return g
}

func (e *Env) typeNode(name string) ast.Expr {
	if x := e.varNode[name]; x != nil {
		return x
	}
	x, err := parser.ParseExprFrom(e.c.fset, BaseFile, e.Vars[name], parser.SkipObjectResolution)
	if err != nil { // checked when the environment was made
		panic(fmt.Sprintf("cell: type of %s: %v", name, err))
	}
	e.varNode[name] = x
	return x
}
