package namespace

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strings"

	"farm/namespace/cell"
	"farm/namespace/internal/item"
	"farm/namespace/value"
)

// VarInfo describes a variable.
type VarInfo struct {
	Name  string
	Type  string // Go type expression
	Bytes int    // encoded size; that of the whole unit for its owner, 0 for the others
	Owner string // set when the variable shares memory with others: the name that owns the unit
}

// DeclInfo describes a declaration or import.
type DeclInfo struct {
	Key    string // "f", "T", "T.M", "A,B" for a group; the local name of an import
	Kind   string // "type", "func", "method", "const", "import"
	Source string // Go source; the import path of an import
}

// List describes the variables of a namespace, sorted by name. It returns ErrCorrupt.
func List(items Items) ([]VarInfo, error) {
	var out []VarInfo
	for k, b := range items {
		name, ok := strings.CutPrefix(k, item.VarPrefix)
		if !ok {
			continue
		}
		v, err := item.ParseVar(k, b)
		if err != nil {
			return nil, err
		}
		info := VarInfo{Name: name, Type: v.Type, Bytes: len(v.Data), Owner: v.Owner}
		if len(v.Shares) > 0 {
			info.Owner = name
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b VarInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Declarations describes imports, then declarations, in the order in which they are read. It returns
// ErrCorrupt.
func Declarations(items Items) ([]DeclInfo, error) {
	var out []DeclInfo
	for _, k := range slices.Sorted(maps.Keys(items)) {
		if name, ok := strings.CutPrefix(k, item.ImportPrefix); ok {
			p, err := item.ParseImport(k, items[k])
			if err != nil {
				return nil, err
			}
			out = append(out, DeclInfo{Key: name, Kind: "import", Source: p})
		}
	}
	p, err := parts(items)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(p.decls, func(a, b cell.Decl) int { return cmp.Or(a.Ordinal-b.Ordinal, strings.Compare(a.Key, b.Key)) })
	for _, d := range p.decls {
		out = append(out, DeclInfo{Key: d.Key, Kind: d.Kind.String(), Source: d.Source})
	}
	return out, nil
}

type envParts struct {
	imports map[string]string
	decls   []cell.Decl
	vars    map[string]string
}

func parts(items Items) (envParts, error) {
	p := envParts{imports: map[string]string{}, vars: map[string]string{}}
	for k, b := range items {
		prefix, name, err := item.Split(k)
		if err != nil {
			return p, err
		}
		switch prefix {
		case item.ImportPrefix:
			p.imports[name], err = item.ParseImport(k, b)
		case item.DeclPrefix:
			var d item.Decl
			d, err = item.ParseDecl(k, b)
			p.decls = append(p.decls, cell.Decl{Key: name, Kind: cell.Kind(d.Kind), Ordinal: d.Ordinal, Source: d.Source})
		case item.VarPrefix:
			var v item.Var
			v, err = item.ParseVar(k, b)
			p.vars[name] = v.Type
		case item.HeaderPrefix:
			if k != item.EngineKey {
				err = fmt.Errorf("%w: key %q", ErrCorrupt, k)
				break
			}
			_, err = EngineOf(items)
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

// Env makes the static side of the namespace for a compiler. It returns ErrCorrupt.
func Env(c *cell.Compiler, items Items) (*cell.Env, error) {
	p, err := parts(items)
	if err != nil {
		return nil, err
	}
	env, err := c.Env(p.imports, p.decls, p.vars)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return env, nil
}

// Check says what a run of cell src in the namespace would refuse before it ran: *CompileError,
// *NotAllowedError, *LimitError, *EngineError. It runs nothing. A namespace that changes meanwhile may
// change the answer. Source is hostile until it has run: check in a process of your own.
func Check(items Items, src string) error { return CheckOn(items, "", src) }

// CheckOn is Check for a run that asks for an engine, if it is not "".
func CheckOn(items Items, engine, src string) error {
	if lim := (Limits{}).WithDefaults(); len(src) > lim.Source {
		return &LimitError{What: "source", Limit: int64(lim.Source), Got: int64(len(src))}
	}
	engine, err := ChooseEngine(items, engine)
	if err != nil {
		return err
	}
	c := cell.NewCompilerTo(Target(engine))
	env, err := Env(c, items)
	if err != nil {
		return err
	}
	_, err = c.Compile(env, src)
	return err
}

// GetJSON gives the readable form and the type of variable name. It returns ErrNoVariable, ErrCorrupt.
func GetJSON(items Items, name string) (j json.RawMessage, typ string, err error) {
	v, index, err := lookup(items, name)
	if err != nil {
		return nil, "", err
	}
	owned := v
	if v.Owner != "" {
		if owned, _, err = lookup(items, v.Owner); err != nil {
			return nil, "", fmt.Errorf("%w: owner of %s", ErrCorrupt, name)
		}
	}
	j, err = value.JSON(owned.Data, index, value.ViewLimits{})
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
	}
	return j, v.Type, nil
}

// lookup gives a variable and its index among the roots of its unit.
func lookup(items Items, name string) (item.Var, int, error) {
	b, ok := items[item.VarPrefix+name]
	if !ok {
		return item.Var{}, 0, fmt.Errorf("%w: %s", ErrNoVariable, name)
	}
	v, err := item.ParseVar(item.VarPrefix+name, b)
	if err != nil || v.Owner == "" {
		return v, 0, err
	}
	o, err := item.ParseVar(item.VarPrefix+v.Owner, items[item.VarPrefix+v.Owner])
	if err != nil {
		return v, 0, err
	}
	i := slices.Index(o.Shares, name)
	if i < 0 {
		return v, 0, fmt.Errorf("%w: %s is not in the unit of %s", ErrCorrupt, name, v.Owner)
	}
	return v, i + 1, nil
}

// SetJSON gives the delta that sets variable name to a JSON value. A new variable takes the type the
// value suggests: int for integers, float64 for other numbers, string, bool, a slice or map of one of
// those when all elements agree, []any or map[string]any otherwise. It returns ErrBadName, ErrBadValue,
// ErrNeedsEngine, *LimitError, ErrCorrupt.
func SetJSON(items Items, name string, j []byte) (Delta, error) {
	if err := settable(items, name); err != nil {
		return Delta{}, err
	}
	v, _, err := lookup(items, name)
	var data []byte
	switch {
	case errors.Is(err, ErrNoVariable):
		data, v.Type, err = value.InferJSON(j)
	case err != nil:
		return Delta{}, err
	case v.Owner != "" || len(v.Shares) > 0:
		return Delta{}, fmt.Errorf("%w: %s shares memory with other variables", ErrNeedsEngine, name)
	default:
		data, err = value.FromJSON(v.Data, 0, j)
	}
	if err != nil {
		return Delta{}, setError(name, err)
	}
	lim := (Limits{}).WithDefaults()
	if len(data) > lim.Value {
		return Delta{}, &LimitError{What: "value of " + name, Limit: int64(lim.Value), Got: int64(len(data))}
	}
	key, b := item.VarPrefix+name, item.Var{Type: v.Type, Data: data}.Encode()
	if string(items[key]) == string(b) {
		return Delta{}, nil
	}
	return withoutLiterals(items, Delta{Put: map[string][]byte{key: b}})
}

// withoutLiterals is the delta that also deletes the function literals which no variable holds after it.
func withoutLiterals(items Items, d Delta) (Delta, error) {
	unused, err := UnusedLiterals(items, d)
	if err != nil {
		return Delta{}, err
	}
	d.Delete = append(d.Delete, unused...)
	slices.Sort(d.Delete)
	return d, nil
}

func setError(name string, err error) error {
	if _, ok := errors.AsType[*value.UnserializableError](err); ok {
		return fmt.Errorf("%w: %s: %w", ErrNeedsEngine, name, err)
	}
	if _, ok := errors.AsType[*value.CorruptError](err); ok {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, name, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrBadValue, name, err)
}

// settable says whether name is or may become a variable.
func settable(items Items, name string) error {
	switch {
	case !token.IsIdentifier(name) || name == "_":
		return fmt.Errorf("%w: %q is not an identifier", ErrBadName, name)
	case strings.HasPrefix(name, cell.Reserved):
		return fmt.Errorf("%w: %s: names that begin with %s are reserved", ErrBadName, name, cell.Reserved)
	case types.Universe.Lookup(name) != nil || name == "main" || name == "init":
		return fmt.Errorf("%w: %s is predeclared", ErrBadName, name)
	}
	for k := range items {
		prefix, n, err := item.Split(k)
		if err != nil {
			return err
		}
		switch {
		case prefix == item.ImportPrefix && n == name:
			return fmt.Errorf("%w: %s is an import", ErrBadName, name)
		case prefix == item.DeclPrefix && slices.Contains(strings.Split(n, ","), name):
			return fmt.Errorf("%w: %s is a declaration", ErrBadName, name)
		}
	}
	return nil
}

// Delete gives the delta that removes a variable, an import or a declaration (by name or key; a type
// goes with its methods). It returns *InUseError naming what still mentions it, ErrNoVariable when
// there is nothing of that name, ErrNeedsEngine when it shares memory with others.
func Delete(items Items, name string) (Delta, error) {
	gone := map[string]bool{}
	for k := range items {
		prefix, n, err := item.Split(k)
		if err != nil {
			return Delta{}, err
		}
		if prefix == item.HeaderPrefix {
			continue
		}
		typ, _, method := strings.Cut(n, ".")
		if n == name || prefix == item.DeclPrefix && (slices.Contains(strings.Split(n, ","), name) || method && typ == name) {
			gone[k] = true
		}
	}
	if len(gone) == 0 {
		return Delta{}, fmt.Errorf("%w: %s", ErrNoVariable, name)
	}
	if b, ok := items[item.VarPrefix+name]; ok {
		v, err := item.ParseVar(name, b)
		if err != nil {
			return Delta{}, err
		}
		if v.Owner != "" || len(v.Shares) > 0 {
			return Delta{}, fmt.Errorf("%w: %s shares memory with other variables", ErrNeedsEngine, name)
		}
	}
	users, err := mentioners(items, gone)
	if err != nil {
		return Delta{}, err
	}
	if len(users) > 0 {
		return Delta{}, &InUseError{Name: name, By: users}
	}
	return withoutLiterals(items, Delta{Delete: slices.Sorted(maps.Keys(gone))})
}

// mentioners lists what, outside gone, mentions a name of gone.
func mentioners(items Items, gone map[string]bool) ([]string, error) {
	names := map[string]bool{}
	for k := range gone {
		_, n, _ := item.Split(k)
		for n := range strings.SplitSeq(n, ",") {
			if _, m, method := strings.Cut(n, "."); method {
				n = m
			}
			names[n] = true
		}
	}
	declared := map[string]bool{} // names, of methods with their type
	for k := range gone {
		if n, ok := strings.CutPrefix(k, item.DeclPrefix); ok {
			for n := range strings.SplitSeq(n, ",") {
				declared[n] = true
			}
		}
	}
	var users []string
	for k, b := range items {
		if gone[k] {
			continue
		}
		prefix, name, _ := item.Split(k)
		var found bool
		switch prefix {
		case item.DeclPrefix:
			d, err := item.ParseDecl(k, b)
			if err != nil {
				return nil, err
			}
			f, err := parser.ParseFile(token.NewFileSet(), "", "package main\n"+d.Source, parser.SkipObjectResolution)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, k, err)
			}
			found = mentionsAny(f, names)
			if found && cell.IsLiteral(name) { // it goes with the last variable that holds it
				holders, err := literalHolders(items, name, gone)
				if err != nil {
					return nil, err
				}
				users = append(users, holders...)
				found = false
			}
		case item.VarPrefix:
			x, err := parser.ParseExpr(string(item.VarHeader(b)))
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, k, err)
			}
			found = mentionsAny(x, names)
			v, err := item.ParseVar(k, b)
			if err != nil {
				return nil, err
			}
			for _, f := range v.Funcs {
				found = found || declared[f]
			}
		}
		if found {
			users = append(users, name)
		}
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

func mentionsAny(n ast.Node, names map[string]bool) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && names[id.Name] {
			found = true
		}
		return !found
	})
	return found
}
