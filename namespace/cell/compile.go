package cell

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"go/types"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"farm/namespace/typeinfo"
)

const (
	// BaseFile is a file in a folder that positions name after what was written (cell, or the key of a
	// declaration): one base name for all that is loaded keeps imports, which engines scope by file,
	// valid across loads.
	BaseFile = "u.go"
	cellFile = "cell/" + BaseFile
	// NoFile is the folder of code that nobody wrote.
	NoFile    = "__run"
	cellFunc  = "__cell" // the function made of the statements
	goVersion = "go1.26"
	// Reserved is the prefix of names that cells cannot declare.
	Reserved = "__"
)

// Compiler checks cells. It is not safe for concurrent use. It remembers the positions of all it has
// parsed: make a new one when Size grows.
type Compiler struct {
	fset *token.FileSet
	imp  *imports
	none token.Pos // a position for nodes that no source has
	to   Target
	n    int // units so far

	declaredAt map[string]token.Position // where the cell at hand declares things, by file name
}

// NewCompiler makes a compiler for the interpreter.
func NewCompiler() *Compiler { return NewCompilerTo(Interpreter) }

// NewCompilerTo makes a compiler for a target.
func NewCompilerTo(to Target) *Compiler {
	c := &Compiler{fset: token.NewFileSet(), to: to}
	c.imp = &imports{Importer: typeinfo.New(partialPackages()...), to: to}
	f := c.fset.AddFile("namespace", -1, 1)
	c.none = f.Pos(0)
	return c
}

// Size is the number of bytes of source the compiler has parsed since it was made.
func (c *Compiler) Size() int { return c.fset.Base() }

// Unit is a checked cell, or a checked call of a function, ready for an engine.
type Unit struct {
	N      int    // distinct for each unit of a compiler
	Before *Env   // the namespace it was checked against
	Env    *Env   // the namespace after it
	Func   string // the function to run: no parameters, no results
	Code   string // Go source of that function, lowered
	Defs   []Def  // all that Code needs, in an order that can be loaded

	// For the machine, instead of Code:
	Trees   []ast.Decl
	Uses    map[string]string // imports of Trees, local name → path
	Program bool              // it is a whole program
	// Literals are the function literals in Trees, without those within others.
	Literals map[*ast.FuncLit]*Literal

	// Vars are the variables the code may touch, with those it makes (New).
	Vars []Var
	New  []string
	// In and Out are variables of the unit, not of the namespace: parameters to set before the run and
	// values to read after it.
	In, Out []Var
	// Result is the type of the value for people, "" when there is none.
	Result string
	// Opaque says that the value has a type that cannot be written down; Out is empty.
	Opaque bool
}

// Var is a variable and its exact static type.
type Var struct {
	Name string
	Type types.Type
	Expr string // the type as written in the namespace
}

// work is the state of one compilation.
type work struct {
	c     *Compiler
	n     int  // number of the unit
	env   *Env // before
	imps  map[string]string
	vars  map[string]string
	kept  []*Decl // declarations that stay
	added []*Decl // declarations of the cell that are new or changed
	stmts []ast.Stmt

	texts map[*token.File]string // of the statements, as parsed

	also     []string        // variables to count as touched
	trailing ast.Expr        // last expression, nil
	program  *program        // when the cell is a whole program
	extra    []*ast.FuncDecl // functions the cell runs and does not keep
	replaced map[string]bool
	order    []string // top-level variables defined by the statements, in order
	top      map[string]*ast.Ident
	newVars  []string // those that are new or change type
	changed  map[string]bool

	next   *Env
	need   reached            // what the cell can touch of next
	nodes  map[*Decl]ast.Decl // copies of the declarations to lower
	bodies func(*Decl) bool   // those whose bodies were checked
	fn     *ast.FuncDecl
	file   *ast.File
	pkg    *types.Package
	info   *types.Info
	unit   *Unit

	unitPkg         *types.Package         // the package as checked first: its types are the namespace's
	lowered         map[string]*engineDecl // made now, by key
	instances       []Def                  // of generic declarations
	instanceImports map[string]string

	mono       *mono          // set when generic code was specialised
	genericUse map[*Decl]bool // declarations whose lowered form mentions instances
	fieldSet   map[*ast.Field]bool
}

// Compile checks a cell against env, which is not changed. The variables in also count as touched by
// the cell even if it does not mention them. Errors are *Error and *NotAllowedError.
func (c *Compiler) Compile(env *Env, src string, also ...string) (u *Unit, err error) {
	// Source is hostile. A fault of this package or of the type checker must not end the process.
	defer func() {
		if r := recover(); r != nil {
			u, err = nil, &NotAllowedError{What: "this cell", Why: fmt.Sprint("the front end failed on it: ", r), Pos: "1:1", Internal: true}
		}
	}()
	w := c.begin(env, also)
	steps := []func() error{
		func() error { return w.parse(src) },
		w.findTop,
		w.hoist,
		w.check,
		w.keepsCallers,
		w.allowed,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return w.emit()
}

// CheckSyntax checks what is wrong with a cell whatever the namespace: that it can be parsed, and that its
// imports are allowed. Errors are *Error and *NotAllowedError.
func (c *Compiler) CheckSyntax(src string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &NotAllowedError{What: "this cell", Why: fmt.Sprint("the front end failed on it: ", r), Pos: "1:1", Internal: true}
		}
	}()
	return c.begin(c.newEnv(nil, nil, nil), nil).parse(src)
}

func (c *Compiler) begin(env *Env, also []string) *work {
	c.n++
	c.declaredAt = map[string]token.Position{}
	return &work{c: c, n: c.n, env: env, also: also, imps: maps.Clone(env.Imports), vars: maps.Clone(env.Vars),
		top: map[string]*ast.Ident{}, replaced: map[string]bool{}, changed: map[string]bool{}, genericUse: map[*Decl]bool{}}
}

// CompileCall makes a unit that calls function fn of env: In are its parameters, Out its results.
func (c *Compiler) CompileCall(env *Env, fn string, also ...string) (*Unit, error) {
	pkg, err := env.Types()
	if err != nil {
		return nil, err
	}
	f, ok := pkg.Scope().Lookup(fn).(*types.Func)
	if !ok {
		return nil, &Error{Msgs: []string{fmt.Sprintf("%s is not a function of the namespace", fn)}}
	}
	sig := f.Signature()
	if sig.TypeParams() != nil {
		return nil, &Error{Msgs: []string{fmt.Sprintf("%s has type parameters and cannot be called by name", fn)}}
	}
	w := c.begin(env, also)
	var in []Var
	var args []string
	for v := range sig.Params().Variables() {
		expr, err := typeExpr(v.Type(), pkg, env, w.imps)
		if err != nil {
			return nil, &Error{Msgs: []string{fmt.Sprintf("parameter %s of %s: %v", v.Name(), fn, err)}}
		}
		name := fmt.Sprintf("__in%d_%d", w.n, len(in))
		in = append(in, Var{Name: name, Type: v.Type(), Expr: expr})
		args = append(args, name)
		w.vars[name] = expr
	}
	call := fn + "(" + strings.Join(args, ", ")
	if sig.Variadic() {
		call += "..."
	}
	if err := w.parseStmts([]chunk{{kind: chunkStmt, src: call + ")", line: 1, col: 1}}); err != nil {
		return nil, err
	}
	w.kept = env.Decls
	w.next = c.newEnv(w.imps, slices.Clone(env.Decls), w.vars)
	if err := w.check(); err != nil {
		return nil, err
	}
	u, err := w.emit()
	if err != nil {
		return nil, err
	}
	u.Env, u.In = env, in
	u.Vars = slices.DeleteFunc(u.Vars, func(v Var) bool { return slices.Contains(args, v.Name) })
	return u, nil
}

// Types are the headers of the declarations and the variables, checked.
func (e *Env) Types() (*types.Package, error) {
	if e.types == nil {
		w := e.c.begin(e, nil)
		pkg, _, list := e.c.typecheck(w.decls(e, func(*Decl) bool { return false }, nil, nil))
		if len(list) > 0 {
			return nil, e.c.report(list)
		}
		e.types = pkg
	}
	return e.types, nil
}

func (w *work) fail(pos token.Pos, f string, a ...any) error {
	return &Error{Msgs: []string{w.c.at(pos) + ": " + fmt.Sprintf(f, a...)}}
}

// at prints a position. Those in declarations of the cell at hand become positions in the cell.
func (c *Compiler) at(pos token.Pos) string {
	p := c.fset.Position(pos)
	if d, ok := c.declaredAt[p.Filename]; ok {
		if p.Line == 1 {
			p.Column += d.Column - 1
		}
		p.Line += d.Line - 1
		p.Filename = cellFile
	}
	return position(p)
}

// parse splits the cell and takes in its imports and declarations.
func (w *work) parse(src string) error {
	chunks, err := split(src)
	if err != nil {
		return err
	}
	prog, err := w.parseProgram(src)
	if err != nil {
		return err
	}
	var decls []chunk
	for _, k := range chunks {
		switch k.kind {
		case chunkImport:
			err = w.parseImport(k)
		case chunkDecl:
			decls = append(decls, k)
		}
		if err != nil {
			return err
		}
	}
	if prog != nil {
		return w.takeProgram(prog, chunks)
	}
	if err := w.parseDecls(decls); err != nil {
		return err
	}
	return w.parseStmts(chunks)
}

// parseFile parses one piece of the cell as a file. Its lines are at their place in the file, so that
// printing, which goes by them, tells them rightly; the line comment sets the column of the first.
func (c *Compiler) parseFile(k chunk) (*ast.File, error) {
	text := fmt.Sprintf("package main;%s/*line :%d:%d*/%s\n", strings.Repeat("\n", k.line-1), k.line, k.col, k.src)
	f, err := parser.ParseFile(c.fset, cellFile, text, parser.SkipObjectResolution)
	var list scanner.ErrorList
	if errors.As(err, &list) {
		return nil, syntaxErrors(list)
	}
	return f, err
}

func (w *work) parseImport(k chunk) error {
	f, err := w.c.parseFile(k)
	if err != nil {
		return err
	}
	for _, is := range f.Imports {
		pkg, err := w.importOf(is)
		if err != nil {
			return err
		}
		path, name := pkg.Path(), pkg.Name()
		if is.Name != nil {
			name = is.Name.Name
		}
		if name == "_" { // for its effects: the packages for cells have none
			continue
		}
		if name == "." || strings.HasPrefix(name, Reserved) {
			return w.fail(is.Pos(), "import %q as %s is not supported in a cell", path, name)
		}
		if old, ok := w.imps[name]; ok && old != path {
			return w.fail(is.Pos(), "%s already names package %q in this namespace", name, old)
		}
		if _, ok := w.vars[name]; ok || w.env.Find(name) != nil {
			return w.fail(is.Pos(), "%s is already declared in this namespace", name)
		}
		w.imps[name] = path
	}
	return nil
}

// importOf gives the package of an import.
func (w *work) importOf(is *ast.ImportSpec) (*types.Package, error) {
	path, err := strconv.Unquote(is.Path.Value)
	if err != nil {
		return nil, w.fail(is.Pos(), "import %s: %v", is.Path.Value, err)
	}
	pkg, err := w.c.imp.Import(path)
	if errors.Is(err, typeinfo.ErrNotAllowed) {
		return nil, &NotAllowedError{What: "package " + strconv.Quote(path), Why: w.c.to.whyNotPackage(path), Pos: w.c.at(is.Pos())}
	}
	if err != nil {
		return nil, w.fail(is.Pos(), "import %q: %v", path, err)
	}
	return pkg, nil
}

// parseDecls takes in the declarations of the cell. One with the same source as before is no change;
// another with the same key replaces the old one.
func (w *work) parseDecls(chunks []chunk) error {
	ordinal := 0
	for _, d := range w.env.Decls {
		ordinal = max(ordinal, d.Ordinal)
	}
	names := map[string]token.Pos{}
	var list []*Decl
	for _, k := range chunks {
		f, err := w.c.parseFile(k)
		if err != nil {
			return err
		}
		for _, n := range f.Decls {
			ordinal++
			d := newDecl(n, k.src, ordinal)
			if d == nil {
				continue
			}
			// Positions are those in the declaration: it outlives the cell. Messages translate them.
			if d, err = w.c.parseDecl(*d); err != nil {
				return w.fail(n.Pos(), "%v", err)
			}
			w.c.declaredAt[d.Key+"/"+BaseFile] = token.Position{Line: k.line, Column: k.col}
			if err := w.declarable(d, names); err != nil {
				return err
			}
			if old := w.env.Find(d.Key); old != nil && old.Source == d.Source {
				for _, n := range d.names {
					names[n] = d.node.Pos()
				}
				continue
			}
			list = append(list, d)
		}
	}
	w.added = list
	for _, d := range w.env.Decls {
		dropped := ""
		for _, n := range d.names {
			for _, a := range list {
				if slices.Contains(a.names, n) {
					dropped = n
				}
			}
		}
		if dropped == "" {
			w.kept = append(w.kept, d)
			continue
		}
		for _, n := range d.names {
			if _, again := names[n]; !again {
				return w.fail(names[dropped], "%s belongs to the group (%s): declare the whole group again", dropped, strings.Join(d.names, ", "))
			}
			w.replaced[n] = true
		}
		// A replaced declaration keeps its place.
		for _, a := range list {
			if a.Key == d.Key {
				a.Ordinal = d.Ordinal
			}
		}
	}
	for n := range names {
		if _, ok := w.vars[n]; ok { // a declaration takes the place of a variable
			w.replaced[n] = true
			delete(w.vars, n)
		}
	}
	return nil
}

func (w *work) declarable(d *Decl, names map[string]token.Pos) error {
	fd, _ := d.node.(*ast.FuncDecl)
	if d.Kind == KindFunc && (d.Key == "main" || d.Key == "init" || d.Key == "_") {
		return w.fail(fd.Name.Pos(), "func %s is not supported in a cell: write the statements at top level", d.Key)
	}
	if fd != nil && fd.Body == nil {
		return w.fail(fd.Pos(), "func %s has no body", d.Key)
	}
	for _, n := range d.names {
		if strings.HasPrefix(n, Reserved) || n == "_" {
			return w.fail(d.node.Pos(), "the name %s cannot be declared in a cell", n)
		}
		if _, again := names[n]; again {
			return w.fail(d.node.Pos(), "%s is declared twice in this cell", n)
		}
		if p, ok := w.imps[n]; ok {
			return w.fail(d.node.Pos(), "%s names the imported package %q", n, p)
		}
		names[n] = d.node.Pos()
	}
	return nil
}

// parseStmts parses all statements as one function body, so that labels and goto work.
func (w *work) parseStmts(chunks []chunk) error {
	var b strings.Builder
	b.WriteString("package main;func _() {")
	line, n := 1, 0
	for _, k := range chunks {
		if k.kind != chunkStmt {
			continue
		}
		b.WriteString(";" + strings.Repeat("\n", k.line-line))
		fmt.Fprintf(&b, "/*line :%d:%d*/%s", k.line, k.col, k.src)
		line = k.line + strings.Count(k.src, "\n")
		n++
	}
	if n == 0 {
		return nil
	}
	b.WriteString("\n}")
	f, err := parser.ParseFile(w.c.fset, cellFile, b.String(), parser.SkipObjectResolution)
	var list scanner.ErrorList
	if errors.As(err, &list) {
		return syntaxErrors(list)
	}
	if err != nil {
		return err
	}
	if len(f.Decls) != 1 {
		return &Error{Msgs: []string{"unbalanced braces"}}
	}
	w.keepText(f, b.String())
	w.stmts = f.Decls[0].(*ast.FuncDecl).Body.List
	if len(w.stmts) > 0 {
		if es, ok := w.stmts[len(w.stmts)-1].(*ast.ExprStmt); ok {
			w.trailing = es.X
		}
	}
	return nil
}

// findTop finds the variables the statements define at top level: they become package variables.
func (w *work) findTop() error {
	add := func(id *ast.Ident) {
		if id.Name == "_" {
			return
		}
		if w.top[id.Name] == nil {
			w.order = append(w.order, id.Name)
		}
		w.top[id.Name] = id
	}
	stmts := w.stmts
	if w.program != nil { // its variables are known
		stmts = nil
	}
	for _, s := range stmts {
		for l, ok := s.(*ast.LabeledStmt); ok; l, ok = s.(*ast.LabeledStmt) {
			s = l.Stmt
		}
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE {
				continue
			}
			for _, l := range s.Lhs {
				if id, ok := l.(*ast.Ident); ok {
					add(id)
				}
			}
		case *ast.DeclStmt:
			g, ok := s.Decl.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, sp := range g.Specs {
				for _, id := range sp.(*ast.ValueSpec).Names {
					add(id)
				}
			}
		}
	}
	for _, n := range w.order {
		if err := w.definable(n); err != nil {
			return err
		}
	}
	if w.program != nil {
		return nil
	}
	var ret *ast.ReturnStmt
	for _, s := range w.stmts {
		ast.Inspect(s, func(n ast.Node) bool {
			if r, ok := n.(*ast.ReturnStmt); ok && ret == nil {
				ret = r
			}
			_, lit := n.(*ast.FuncLit)
			return !lit
		})
	}
	if ret != nil {
		return w.fail(ret.Pos(), "return outside a function: end the cell with an expression to give its value")
	}
	return nil
}

func (w *work) definable(n string) error {
	pos := w.top[n].Pos()
	for _, d := range w.added {
		if slices.Contains(d.names, n) {
			return w.fail(pos, "%s is declared twice in this cell", n)
		}
	}
	if p, ok := w.imps[n]; ok {
		return w.fail(pos, "%s names the imported package %q", n, p)
	}
	if strings.HasPrefix(n, Reserved) {
		return w.fail(pos, "the name %s cannot be declared in a cell", n)
	}
	if types.Universe.Lookup(n) != nil {
		return w.fail(pos, "%s is predeclared: choose another name for a variable", n)
	}
	if d := w.env.Find(n); d != nil && len(d.names) > 1 {
		return w.fail(pos, "%s belongs to the group (%s)", n, d.Key)
	}
	return nil
}

// decls lists the declarations to check. body says which need their bodies.
func (w *work) decls(env *Env, body func(*Decl) bool, fn *ast.FuncDecl, node func(*Decl) ast.Decl) *ast.File {
	f := &ast.File{Name: ast.NewIdent("main"), Package: w.c.none}
	f.Decls = append(f.Decls, env.importDecl())
	for _, d := range env.Decls {
		switch {
		case !body(d):
			f.Decls = append(f.Decls, d.header())
		case node != nil:
			f.Decls = append(f.Decls, node(d))
		default:
			f.Decls = append(f.Decls, d.node)
		}
	}
	if v := env.varDecl(); v != nil {
		f.Decls = append(f.Decls, v)
	}
	if fn != nil {
		f.Decls = append(f.Decls, fn)
		for _, d := range w.extra {
			f.Decls = append(f.Decls, d)
		}
	}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			for _, s := range g.Specs {
				f.Imports = append(f.Imports, s.(*ast.ImportSpec))
			}
		}
	}
	return f
}

func (c *Compiler) config() types.Config {
	return types.Config{Importer: c.imp, DisableUnusedImportCheck: true, GoVersion: goVersion, Sizes: types.SizesFor("gc", runtime.GOARCH)}
}

func (c *Compiler) typecheck(f *ast.File) (*types.Package, *types.Info, []types.Error) {
	return c.typecheckWith(c.config(), f)
}

func (c *Compiler) typecheckWith(conf types.Config, f *ast.File) (*types.Package, *types.Info, []types.Error) {
	var list []types.Error
	conf.Error = func(err error) {
		if te, ok := errors.AsType[types.Error](err); ok {
			list = append(list, te)
		}
	}
	info := newInfo()
	pkg, _ := conf.Check("main", c.fset, []*ast.File{f}, info)
	return pkg, info, list
}

func newInfo() *types.Info {
	return &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{},
		Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{},
		Instances: map[*ast.Ident]types.Instance{}, Implicits: map[ast.Node]types.Object{},
	}
}

// problem is the error of a file that does not check: a member that is not for cells, or what Go says.
func (c *Compiler) problem(list []types.Error, info *types.Info, f *ast.File) error {
	if err := c.hiddenMember(info, f); err != nil {
		return err
	}
	return c.report(list)
}

func (c *Compiler) report(list []types.Error) error {
	e := &Error{}
	slices.SortStableFunc(list, func(a, b types.Error) int { return int(a.Pos) - int(b.Pos) })
	for _, x := range list {
		m := c.at(x.Pos) + ": " + x.Msg
		if len(e.Msgs) < MaxMessages && !slices.Contains(e.Msgs, m) {
			e.Msgs = append(e.Msgs, m)
		}
	}
	return e
}

func cellFuncDecl(body []ast.Stmt) *ast.FuncDecl {
	return &ast.FuncDecl{Name: ast.NewIdent(cellFunc), Type: &ast.FuncType{Params: &ast.FieldList{}}, Body: &ast.BlockStmt{List: body}}
}

// bind makes a trailing expression that is no call a legal statement.
func bind(stmts []ast.Stmt, trailing ast.Expr) []ast.Stmt {
	if trailing == nil {
		return stmts
	}
	if _, call := ast.Unparen(trailing).(*ast.CallExpr); call {
		return stmts
	}
	out := slices.Clone(stmts[:len(stmts)-1])
	return append(out, &ast.AssignStmt{
		Lhs: []ast.Expr{ast.NewIdent("_")}, Tok: token.ASSIGN, TokPos: trailing.Pos(), Rhs: []ast.Expr{trailing},
	})
}

// hoist finds the types of the variables defined at top level: the statements are checked as a function
// body, where := works, against headers only. Then the variables join the package.
func (w *work) hoist() error {
	w.next = w.c.newEnv(w.imps, slices.Concat(w.kept, w.added), w.vars)
	if w.program != nil {
		return w.hoistProgram()
	}
	if len(w.order) == 0 {
		return nil
	}
	noBody := func(*Decl) bool { return false }
	fn := cellFuncDecl(bind(w.stmts, w.trailing))
	f := w.decls(w.next, noBody, fn, nil)
	pkg, info, list := w.c.typecheck(f)
	var hard []types.Error
	for _, e := range list {
		if e.Soft || unusedCall(e, w.trailing) {
			continue
		}
		// Errors of the declarations are judged with the whole, below.
		if e.Pos >= fn.Body.List[0].Pos() && e.Pos <= fn.Body.List[len(fn.Body.List)-1].End() {
			hard = append(hard, e)
		}
	}
	if len(hard) > 0 {
		return w.c.problem(hard, info, f)
	}
	if err := w.allowedIn(info, pkg, f); err != nil {
		return err
	}
	vars, imps := maps.Clone(w.vars), maps.Clone(w.imps)
	drop := map[string]bool{}
	for _, n := range w.order {
		obj := info.Defs[w.top[n]]
		if obj == nil {
			obj = info.Uses[w.top[n]]
		}
		if obj == nil || obj.Type() == nil || obj.Type() == types.Typ[types.Invalid] {
			if len(list) > 0 {
				return w.c.problem(list, info, f)
			}
			return w.fail(w.top[n].Pos(), "cannot determine the type of %s", n)
		}
		expr, err := typeExpr(obj.Type(), pkg, w.next, imps)
		if err != nil {
			return w.fail(w.top[n].Pos(), "%s: %v", n, err)
		}
		if old, ok := w.env.Vars[n]; ok && old == expr && !w.replaced[n] {
			continue
		} else if ok {
			w.changed[n] = true
			if err := w.usedBefore(n, pkg, info, old, expr); err != nil {
				return err
			}
		}
		if w.env.Find(n) != nil {
			w.changed[n], drop[n] = true, true
		}
		w.newVars = append(w.newVars, n)
		vars[n] = expr
	}
	w.joinVars(drop, imps, vars)
	w.stmts = w.assignTop()
	return nil
}

// joinVars makes the namespace as it will be, with its new variables; they take the place of the
// declarations to drop.
func (w *work) joinVars(drop map[string]bool, imps, vars map[string]string) {
	w.kept = slices.DeleteFunc(w.kept, func(d *Decl) bool { return drop[d.Key] })
	w.imps, w.vars = imps, vars
	w.next = w.c.newEnv(imps, slices.Concat(w.kept, w.added), vars)
}

// unusedCall is the complaint about a trailing conversion or len(x): as a value it is used.
func unusedCall(e types.Error, trailing ast.Expr) bool {
	return trailing != nil && e.Pos == trailing.Pos() && strings.Contains(e.Msg, "is not used")
}

// usedBefore refuses a cell that reads a variable and then gives it another type.
func (w *work) usedBefore(name string, pkg *types.Package, info *types.Info, old, now string) error {
	for id, o := range info.Uses {
		if id.Name == name && o.Parent() == pkg.Scope() {
			return w.fail(id.Pos(), "%s changes its type from %s to %s in this cell and cannot be used before: choose another name", name, old, now)
		}
	}
	return nil
}

// assignTop rewrites the definitions at top level to assignments.
func (w *work) assignTop() []ast.Stmt {
	var out []ast.Stmt
	for _, s := range w.stmts {
		out = append(out, assignment(s)...)
	}
	return out
}

func assignment(s ast.Stmt) []ast.Stmt {
	switch x := s.(type) {
	case *ast.LabeledStmt:
		r := assignment(x.Stmt)
		return append([]ast.Stmt{&ast.LabeledStmt{Label: x.Label, Colon: x.Colon, Stmt: r[0]}}, r[1:]...)
	case *ast.AssignStmt:
		if x.Tok == token.DEFINE {
			y := *x
			y.Tok = token.ASSIGN
			return []ast.Stmt{&y}
		}
	case *ast.DeclStmt:
		g, ok := x.Decl.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			return []ast.Stmt{s}
		}
		var out []ast.Stmt
		for _, sp := range g.Specs {
			out = append(out, varAssignment(sp.(*ast.ValueSpec))...)
		}
		if len(out) == 0 {
			out = []ast.Stmt{&ast.EmptyStmt{Semicolon: s.Pos()}}
		}
		return out
	}
	return []ast.Stmt{s}
}

// varAssignment is var x T = v as an assignment; without a value, of the zero value.
func varAssignment(vs *ast.ValueSpec) []ast.Stmt {
	var lhs []ast.Expr
	for _, n := range vs.Names {
		lhs = append(lhs, n)
	}
	if len(vs.Values) > 0 {
		return []ast.Stmt{&ast.AssignStmt{Lhs: lhs, Tok: token.ASSIGN, TokPos: vs.Pos(), Rhs: vs.Values}}
	}
	var out []ast.Stmt
	for _, n := range vs.Names {
		if n.Name == "_" {
			continue
		}
		zero := &ast.Ident{Name: "__zero", NamePos: n.Pos()}
		out = append(out, &ast.BlockStmt{Lbrace: n.Pos(), Rbrace: n.Pos(), List: []ast.Stmt{
			&ast.DeclStmt{Decl: &ast.GenDecl{Tok: token.VAR, TokPos: n.Pos(), Specs: []ast.Spec{
				&ast.ValueSpec{Names: []*ast.Ident{{Name: "__zero", NamePos: n.Pos()}}, Type: vs.Type}}}},
			&ast.AssignStmt{Lhs: []ast.Expr{n}, Tok: token.ASSIGN, TokPos: n.Pos(), Rhs: []ast.Expr{zero}},
		}})
	}
	return out
}
