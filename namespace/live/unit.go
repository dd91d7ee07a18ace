package live

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/internal/item"
)

// sum identifies the definitions of a namespace within this process, whatever their order, and can be
// kept up to date item by item. Values of variables do not count, their types do.
type sum [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func sumOf(items ns.Items) (s sum) {
	for k, v := range items {
		s.add(k, v)
	}
	return s
}

func (s *sum) of(i int, key string, val []byte) uint64 {
	if strings.HasPrefix(key, item.VarPrefix) {
		val = item.VarHeader(val) // its type
	}
	var h maphash.Hash
	h.SetSeed(seeds[i])
	h.WriteString(key)
	h.WriteByte(0)
	h.Write(val)
	return h.Sum64()
}

func (s *sum) add(key string, val []byte) {
	for i := range s {
		s[i] += s.of(i, key, val)
	}
}

func (s *sum) remove(key string, val []byte) {
	for i := range s {
		s[i] -= s.of(i, key, val)
	}
}

// unitKey identifies a checked cell or call.
type unitKey struct {
	env  cell.Hash
	src  string
	call string
	also string // variables that share memory with those it touches
}

// unit is a checked cell and what it changes whatever it does when it runs.
type unit struct {
	*cell.Unit
	static ns.Delta // imports and declarations
	types  map[string]cell.Var
	fresh  map[string]bool // variables it makes
	has    map[string]bool // names of the declarations it has, on the machine: f, T, T.M
}

// unit gives the checked unit of key, from the cache or made now. When variables it touches share
// memory with others, it is made again with those counted in.
func (c *Context) unit(key unitKey, env *cell.Env) (*unit, error) {
	var also []string
	for {
		key.also = strings.Join(also, ",")
		u := c.units[key]
		if u == nil {
			var err error
			if u, err = c.makeUnit(key, env, also); err != nil {
				return nil, err
			}
			c.units[key] = u
		}
		if err := c.keepsFuncs(u); err != nil {
			return nil, err
		}
		missing, err := c.partners(u)
		if err != nil || len(missing) == 0 {
			return u, err
		}
		if i := slices.IndexFunc(missing, func(n string) bool { return slices.Contains(also, n) }); i >= 0 {
			return nil, fmt.Errorf("%w: a variable refers to %q, which is not there", ns.ErrCorrupt, missing[i])
		}
		also = append(also, missing...)
		slices.Sort(also)
	}
}

func (c *Context) makeUnit(key unitKey, env *cell.Env, also []string) (*unit, error) {
	var cu *cell.Unit
	var err error
	if key.call != "" {
		cu, err = c.comp.CompileCall(env, key.call, also...)
	} else {
		cu, err = c.comp.Compile(env, key.src, also...)
	}
	if err != nil {
		return nil, err
	}
	u := &unit{Unit: cu, types: map[string]cell.Var{}, fresh: map[string]bool{}, has: map[string]bool{}}
	for _, d := range cu.Defs {
		for _, n := range d.Declares {
			u.has[n] = true
		}
	}
	for _, v := range cu.Vars {
		u.types[v.Name] = v
	}
	for _, n := range cu.New {
		u.fresh[n] = true
	}
	u.static = staticDelta(cu)
	if n := len(cu.Env.Decls); n > c.lim.Decls {
		return nil, &ns.LimitError{What: "declarations", Limit: int64(c.lim.Decls), Got: int64(n)}
	}
	if n := len(cu.Env.Vars); n > c.lim.Variables {
		return nil, &ns.LimitError{What: "variables", Limit: int64(c.lim.Variables), Got: int64(n)}
	}
	return u, nil
}

// staticDelta is the change of imports and declarations, and the variables that declarations replaced.
func staticDelta(u *cell.Unit) ns.Delta {
	d := ns.Delta{Put: map[string][]byte{}}
	for n, p := range u.Env.Imports {
		if u.Before.Imports[n] != p {
			d.Put[item.ImportPrefix+n] = item.Import(p)
		}
	}
	before := map[string]*cell.Decl{}
	for _, x := range u.Before.Decls {
		before[x.Key] = x
	}
	for _, x := range u.Env.Decls {
		if old := before[x.Key]; old == nil || old.Source != x.Source || old.Ordinal != x.Ordinal {
			d.Put[item.DeclPrefix+x.Key] = item.Decl{Ordinal: x.Ordinal, Kind: byte(x.Kind), Source: x.Source}.Encode()
		}
		delete(before, x.Key)
	}
	for k := range before {
		d.Delete = append(d.Delete, item.DeclPrefix+k)
	}
	for n := range u.Before.Vars {
		if _, ok := u.Env.Vars[n]; !ok {
			d.Delete = append(d.Delete, item.VarPrefix+n)
		}
	}
	slices.Sort(d.Delete)
	return d
}

// keepsFuncs refuses to change a declaration while variables hold functions that have their code there, or
// whose code needs it as it is.
func (c *Context) keepsFuncs(u *unit) error {
	var changed []string
	for k := range u.static.Put {
		if d, ok := strings.CutPrefix(k, item.DeclPrefix); ok && c.items[k] != nil {
			changed = append(changed, d)
		}
	}
	for _, k := range u.static.Delete {
		if d, ok := strings.CutPrefix(k, item.DeclPrefix); ok {
			changed = append(changed, d)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	slices.Sort(changed)
	for _, k := range slices.Sorted(maps.Keys(c.items)) {
		if !ns.IsVariable(k) || !item.HoldsFuncs(c.items[k]) || u.fresh[k[len(item.VarPrefix):]] {
			continue
		}
		v, err := item.ParseVar(k, c.items[k])
		if err != nil {
			return err
		}
		for _, f := range v.Funcs {
			for _, d := range changed {
				if slices.Contains(strings.Split(d, ","), f) || u.Before.NeedsType(f, d) {
					of := "function of " + f
					if cell.IsLiteral(f) {
						of = "function literal that uses it"
					}
					return &ns.CompileError{Msgs: []string{fmt.Sprintf("%s is changed but %s still holds a %s: delete or redefine it first", d, k[len(item.VarPrefix):], of)}}
				}
			}
		}
	}
	return nil
}

// partners gives the variables that share memory with those the unit touches and are not among them.
func (c *Context) partners(u *unit) ([]string, error) {
	missing := map[string]bool{}
	visit := func(n string, gone bool) error {
		names, err := c.unitOf(n)
		if err != nil || len(names) < 2 {
			return err
		}
		if gone {
			return &ns.CompileError{Msgs: []string{fmt.Sprintf("%s shares memory with other variables (%s) and cannot become something else", n, strings.Join(names, ", "))}}
		}
		for _, p := range names {
			if _, ok := u.types[p]; !ok {
				missing[p] = true
			}
		}
		return nil
	}
	for _, v := range u.Vars {
		if err := visit(v.Name, u.fresh[v.Name]); err != nil {
			return nil, err
		}
		if err := c.needed(v.Name, u, missing); err != nil {
			return nil, err
		}
	}
	for _, k := range u.static.Delete {
		if n, ok := strings.CutPrefix(k, item.VarPrefix); ok {
			if err := visit(n, true); err != nil {
				return nil, err
			}
		}
	}
	out := make([]string, 0, len(missing))
	for n := range missing {
		out = append(out, n)
	}
	return out, nil
}

// needed adds what of the namespace functions in a variable need and the unit does not have.
func (c *Context) needed(name string, u *unit, missing map[string]bool) error {
	b := c.items[item.VarPrefix+name]
	if !item.HoldsFuncs(b) || u.fresh[name] {
		return nil
	}
	v, err := item.ParseVar(name, b)
	if err != nil {
		return err
	}
	for _, f := range v.Funcs {
		if !u.has[f] {
			missing[f] = true
		}
	}
	return nil
}

// unitOf gives the names of the variables in the unit of a variable, in the order of its roots; nil when
// there is no such variable yet.
func (c *Context) unitOf(name string) ([]string, error) {
	b, ok := c.items[item.VarPrefix+name]
	if !ok {
		return nil, nil
	}
	v, err := item.ParseVar(name, b)
	if err == nil && v.Owner != "" {
		name = v.Owner
		v, err = item.ParseVar(name, c.items[item.VarPrefix+name])
	}
	if err != nil {
		return nil, err
	}
	if len(v.Shares) == 0 {
		return []string{name}, nil
	}
	return append([]string{name}, v.Shares...), nil
}
