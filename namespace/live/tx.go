package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	ns "farm/namespace"
	"farm/namespace/cell"
	"farm/namespace/internal/item"
	"farm/namespace/value"
)

// tx is one run: a cell, calls, or both, that take effect together or not at all.
type tx struct {
	c       *Context
	l       *loaded
	run     ns.Run
	env     *cell.Env           // after the run
	touched map[string]cell.Var // variables the run may have changed
	delta   ns.Delta
	submits *submissions

	literals bool // the delta has declarations of function literals, or takes some away
	broken   bool // the engine is not to be used again
	failed   bool // something has failed in the middle
}

func (t *tx) do(ctx context.Context, main, call *unit) (ns.Result, error) {
	var res ns.Result
	if main != nil {
		err := t.exec(ctx, main, nil)
		exited := errors.Is(err, errExited)
		if exited && call == nil {
			err = nil
		}
		if err != nil {
			return res, exitError(err)
		}
		if !exited {
			if err := t.result(main, &res); err != nil {
				return res, err
			}
		}
	}
	if call != nil {
		var err error
		if res.Results, err = t.calls(ctx, call); err != nil {
			return res, err
		}
	}
	if err := t.submits.failed(); err != nil { // of a call that failed alone, or that the code has recovered from
		return res, err
	}
	if t.run.Discard {
		return res, nil
	}
	if err := t.checkpoint(); err != nil {
		return res, err
	}
	if err := t.commit(main, call); err != nil {
		return res, err
	}
	res.Delta = t.delta
	return res, nil
}

// exec runs a unit once on up-to-date variables.
func (t *tx) exec(ctx context.Context, u *unit, args func() error) error {
	if err := t.sync(u); err != nil {
		return err
	}
	for _, v := range u.Out {
		t.l.vars[v.Name].clear()
	}
	if args != nil {
		if err := args(); err != nil {
			return err
		}
	}
	end := t.l.eng.Run(ctx, u.Unit, &t.run.Task, t.submits)
	if e := t.submits.failed(); e != nil && ctx.Err() == nil {
		if _, exited := errors.AsType[*ns.ExitError](end.err); !exited && !errors.Is(end.err, errExited) {
			end.err = e
		}
	}
	if end.err == nil || errors.Is(end.err, errExited) {
		t.env = u.Env
	}
	t.broken, t.failed = t.broken || end.broken, t.failed || end.err != nil
	t.c.spent = t.c.spent || end.spent
	return end.err
}

// exitError is err, for a run that was to go on after the code.
func exitError(err error) error {
	if errors.Is(err, errExited) {
		return &ns.ExitError{}
	}
	return err
}

// sync brings the variables a unit can touch to their values of this moment.
func (t *tx) sync(u *unit) error {
	for _, v := range u.Vars {
		if _, again := t.touched[v.Name]; again && !u.fresh[v.Name] {
			continue
		}
		s := t.l.vars[v.Name]
		if s == nil {
			return bug("variable %s is not loaded", v.Name)
		}
		t.touched[v.Name] = v
		if u.fresh[v.Name] {
			s.clear()
			continue
		}
		if b := t.c.items[item.VarPrefix+v.Name]; !same(s.item, b) {
			if err := t.decode(v.Name, u); err != nil {
				return err
			}
		}
	}
	return nil
}

// same says that two items are equal, at once when they are the same bytes in memory.
func same(a, b []byte) bool {
	return a != nil && len(a) == len(b) && (&a[0] == &b[0] || bytes.Equal(a, b))
}

// decode sets the variables of a unit of memory from its item.
func (t *tx) decode(name string, u *unit) error {
	names, err := t.c.unitOf(name)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return bug("no item of variable %s", name)
	}
	owner, err := item.ParseVar(names[0], t.c.items[item.VarPrefix+names[0]])
	if err != nil {
		return err
	}
	roots := make([]value.Root, len(names))
	for i, n := range names {
		s, v := t.l.vars[n], u.types[n]
		if s == nil || v.Type == nil {
			return bug("variable %s is not loaded", n)
		}
		s.clear()
		roots[i] = value.Root{Name: n, Type: v.Type, Value: s.v}
	}
	if err := t.codec(u.Env, t.c.lim.Value).Decode(owner.Data, roots); err != nil {
		return fmt.Errorf("%w: value of %s: %w", ns.ErrCorrupt, strings.Join(names, ", "), err)
	}
	for _, n := range names {
		t.l.vars[n].item = t.c.items[item.VarPrefix+n]
	}
	return nil
}

// result reads the value of the cell.
func (t *tx) result(u *unit, res *ns.Result) error {
	res.Type = u.Result
	if u.Result == "" || u.Opaque {
		return nil
	}
	var list []json.RawMessage
	for _, v := range u.Out {
		data, err := t.encodeOut(v)
		if err != nil {
			if _, ok := errors.AsType[*value.UnserializableError](err); ok {
				return nil // a function, a channel: it has a type but no value for outside
			}
			return err
		}
		j, err := value.JSON(data, 0, value.ViewLimits{MaxBytes: t.c.lim.Result})
		if err != nil {
			return err
		}
		if len(u.Out) == 1 {
			res.Value, res.JSON = data, j
			return nil
		}
		list = append(list, j)
	}
	var err error
	res.JSON, err = json.Marshal(list)
	return err
}

func (t *tx) encodeOut(v cell.Var) ([]byte, error) {
	units, err := t.codec(t.env, t.c.lim.Result).Encode([]value.Root{{Name: "result", Type: v.Type, Value: t.l.vars[v.Name].v}})
	if err != nil {
		return nil, limitError("result", err)
	}
	return units[0].Data, nil
}

// codec knows the types of env, which is the namespace of the values.
func (t *tx) codec(env *cell.Env, maxBytes int) value.Codec {
	return value.Codec{Limits: value.Limits{MaxBytes: maxBytes}, Engine: t.l.eng.Codec(env)}
}

func limitError(what string, err error) error {
	if e, ok := errors.AsType[*value.LimitError](err); ok {
		return &ns.LimitError{What: what, Limit: int64(e.Limit), Got: int64(e.Got)}
	}
	return err
}

// checkpoint encodes what the run may have changed and puts what did change in the delta.
func (t *tx) checkpoint() error {
	roots := make([]value.Root, 0, len(t.touched))
	for n, v := range t.touched {
		if _, still := t.env.Vars[n]; still {
			roots = append(roots, value.Root{Name: n, Type: v.Type, Value: t.l.vars[n].v})
		}
	}
	if len(roots) == 0 {
		return nil
	}
	slices.SortFunc(roots, func(a, b value.Root) int { return strings.Compare(a.Name, b.Name) })
	t.l.eng.Aliased()
	units, err := t.codec(t.env, t.c.lim.Value).Encode(roots)
	if err != nil {
		return limitError("value of a variable", err)
	}
	for _, u := range units {
		for i, n := range u.Names {
			v := item.Var{Type: t.touched[n].Expr}
			if i == 0 {
				v.Shares, v.Data, v.Funcs = u.Names[1:], u.Data, u.Decls
			} else {
				v.Owner = u.Names[0]
			}
			key := item.VarPrefix + n
			if old := t.c.items[key]; v.Is(old) {
				t.l.vars[n].item = old
				continue
			}
			b := v.Encode()
			t.put(key, b)
			t.l.vars[n].item = b
		}
	}
	t.keepLiterals()
	if t.l.eng.Aliased() { // what is in memory is not what was encoded: decode it before it is used again
		t.undo()
	}
	return nil
}

// keepLiterals declares the function literals that variables have come to hold.
func (t *tx) keepLiterals() {
	for name, lit := range t.l.eng.Literals() {
		key := item.DeclPrefix + name
		if t.c.items[key] != nil {
			continue
		}
		d := lit.Decl()
		t.put(key, item.Decl{Kind: byte(d.Kind), Source: d.Source}.Encode())
		for n, path := range lit.Imports {
			t.put(item.ImportPrefix+n, item.Import(path))
		}
		t.literals = true
	}
}

// dropLiterals takes out of the namespace the function literals that no variable holds any more.
func (t *tx) dropLiterals() error {
	if !t.literals && !slices.ContainsFunc(t.env.Decls, func(d *cell.Decl) bool { return cell.IsLiteral(d.Key) }) {
		return nil
	}
	unused, err := ns.UnusedLiterals(t.c.items, t.delta)
	if err != nil || len(unused) == 0 {
		return err
	}
	t.delta.Delete = append(t.delta.Delete, unused...)
	t.literals = true
	return nil
}

// fits refuses literals that are too many.
func (t *tx) fits() error {
	if !t.literals {
		return nil
	}
	n := 0
	for k := range t.c.items {
		if strings.HasPrefix(k, item.DeclPrefix) {
			n++
		}
	}
	for k := range t.delta.Put {
		if strings.HasPrefix(k, item.DeclPrefix) && t.c.items[k] == nil {
			n++
		}
	}
	for _, k := range t.delta.Delete {
		if strings.HasPrefix(k, item.DeclPrefix) && t.c.items[k] != nil {
			n--
		}
	}
	if lim := t.c.lim.Decls; n > lim {
		return &ns.LimitError{What: "declarations, with function literals in variables", Limit: int64(lim), Got: int64(n)}
	}
	return nil
}

func (t *tx) put(key string, b []byte) {
	if t.delta.Put == nil {
		t.delta.Put = map[string][]byte{}
	}
	t.delta.Put[key] = b
}

// commit applies the whole delta to the context.
func (t *tx) commit(units ...*unit) error {
	for _, u := range units {
		if u == nil {
			continue
		}
		for k, b := range u.static.Put {
			t.put(k, b)
		}
		t.delta.Delete = append(t.delta.Delete, u.static.Delete...)
	}
	if _, named := t.c.items[item.EngineKey]; !named {
		t.put(item.EngineKey, item.Engine(t.c.engine))
	}
	if err := t.dropLiterals(); err != nil {
		return err
	}
	slices.Sort(t.delta.Delete)
	t.delta.Delete = slices.Compact(t.delta.Delete)
	if err := t.fits(); err != nil {
		return err
	}
	if n, lim := t.delta.Size(), t.c.lim.Delta; n > lim {
		return &ns.LimitError{What: "delta", Limit: int64(lim), Got: int64(n)}
	}
	t.c.apply(t.delta)
	if t.literals { // the environment is another than what was checked
		t.c.env = nil
		return nil
	}
	t.c.env = t.env
	if len(t.c.envs) <= maxEnvs {
		t.c.envs[t.c.sum] = t.env
	}
	return nil
}

// undo forgets what the engine holds of the variables the run touched: they are decoded again.
func (t *tx) undo() {
	for n := range t.touched {
		t.l.vars[n].item = nil
	}
}

// calls calls a function for each input.
func (t *tx) calls(ctx context.Context, u *unit) ([]ns.CallResult, error) {
	inputs := t.run.Inputs
	if len(inputs) == 0 && len(u.In) == 0 {
		inputs = []json.RawMessage{nil}
	}
	out := make([]ns.CallResult, 0, len(inputs))
	for i, in := range inputs {
		mark := t.submits.mark()
		r, err := t.call(ctx, u, in)
		switch {
		case err == nil:
			out = append(out, r)
			continue
		case !t.run.Discard || ctx.Err() != nil:
			return nil, &ns.CallError{Func: t.run.Call, Input: i, Err: err}
		}
		out = append(out, ns.CallResult{Error: err.Error()})
		t.submits.cut(mark)
		if t.failed {
			if err := t.again(ctx); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// again makes good what a call that failed has left behind, with a new engine if it broke the last one:
// the cell is run again, then the calls go on. What the cell submits it has submitted
// before.
func (t *tx) again(ctx context.Context) error {
	c := t.c
	t.undo()
	if t.broken {
		c.drop(t.l)
	}
	main, call, err := c.compile(t.run)
	if err != nil {
		return err
	}
	if t.l, err = c.engineFor(main, call); err != nil {
		return err
	}
	t.broken, t.failed, t.touched = false, false, map[string]cell.Var{}
	if main == nil {
		return nil
	}
	mark := t.submits.mark()
	defer t.submits.cut(mark)
	return t.exec(ctx, main, nil)
}

func (t *tx) call(ctx context.Context, u *unit, in json.RawMessage) (ns.CallResult, error) {
	err := t.exec(ctx, u, func() error { return t.setArgs(u, in) })
	if err != nil {
		return ns.CallResult{}, exitError(err)
	}
	outs := u.Out
	if n := len(outs); n > 0 && isError(outs[n-1]) {
		if e := t.l.vars[outs[n-1].Name].v; !e.IsZero() {
			return ns.CallResult{}, &ns.ReturnedError{Message: t.l.eng.ErrorText(ctx, e)}
		}
		outs = outs[:n-1]
	}
	list := make([]json.RawMessage, 0, len(outs))
	for _, v := range outs {
		data, err := t.encodeOut(v)
		if err != nil {
			return ns.CallResult{}, err
		}
		j, err := value.JSON(data, 0, value.ViewLimits{MaxBytes: t.c.lim.Result})
		if err != nil {
			return ns.CallResult{}, err
		}
		list = append(list, j)
	}
	switch len(list) {
	case 0:
		return ns.CallResult{JSON: json.RawMessage("null")}, nil
	case 1:
		return ns.CallResult{JSON: list[0]}, nil
	}
	j, err := json.Marshal(list)
	return ns.CallResult{JSON: j}, err
}

func isError(v cell.Var) bool { return v.Expr == "error" }

// setArgs sets the parameters of a call from one input.
func (t *tx) setArgs(u *unit, in json.RawMessage) error {
	if len(u.In) == 0 {
		return nil
	}
	args := []json.RawMessage{in}
	if len(u.In) > 1 {
		if err := json.Unmarshal(in, &args); err != nil {
			return fmt.Errorf("%w: an array of %d arguments is expected: %w", ns.ErrBadValue, len(u.In), err)
		}
	}
	if len(args) != len(u.In) {
		return fmt.Errorf("%w: %d arguments, the function has %d parameters", ns.ErrBadValue, len(args), len(u.In))
	}
	for i, v := range u.In {
		s := t.l.vars[v.Name]
		s.clear()
		if err := value.DecodeJSON(v.Type, s.v, args[i]); err != nil {
			return fmt.Errorf("%w: argument %d: %w", ns.ErrBadValue, i, err)
		}
	}
	return nil
}
