package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"farm/api"
)

// Namespace is a durable execution context, used from outside. It is a name
// and a client, nothing else: making one does not reach the farm, and the
// first task or Set in it makes the namespace.
type Namespace struct {
	c     *Client
	name  string
	stale bool
}

// Namespace returns the namespace of that name.
func (c *Client) Namespace(name string) *Namespace { return &Namespace{c: c, name: name} }

// Name is the namespace's name.
func (n *Namespace) Name() string { return n.name }

// Stale returns the namespace for reads that may be answered from the state of
// whichever node is asked, as it is: cheaper, and Variable.Age says how old.
func (n *Namespace) Stale() *Namespace {
	s := *n
	s.stale = true
	return &s
}

// check refuses the empty name: in a Task it would mean a private context.
func (n *Namespace) check() error {
	if n.name == "" {
		return fmt.Errorf("%w: a namespace needs a name", ErrInvalid)
	}
	return nil
}

// Exec runs a cell in the namespace and waits for its end, as Client.Run does.
func (n *Namespace) Exec(ctx context.Context, source string) (*Info, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	return n.c.Run(ctx, Task{Namespace: n.name, Source: source})
}

// Variable is the value of a variable.
type Variable struct {
	JSON    json.RawMessage // the value, its fields named as encoding/json names them; those not exported as well
	Type    string          // its Go type
	Version uint64          // of the namespace when it was last changed
	Age     time.Duration   // of a stale read: since the node last heard from a leader
}

// Variable reads a variable.
func (n *Namespace) Variable(ctx context.Context, key string) (*Variable, error) {
	r, err := n.read(ctx, &api.Call{Op: &api.Call_Get{Get: &api.GetKey{Namespace: n.name, Key: key}}})
	if err != nil {
		return nil, fmt.Errorf("get %s in %s: %w", key, n.name, err)
	}
	v := r.GetVariable()
	return &Variable{JSON: v.GetJson(), Type: v.GetType(), Version: v.GetVersion(), Age: time.Duration(r.Age)}, nil
}

// Get reads a variable into v, as json.Unmarshal does.
func (n *Namespace) Get(ctx context.Context, key string, v any) error {
	x, err := n.Variable(ctx, key)
	if err != nil {
		return err
	}
	return json.Unmarshal(x.JSON, v)
}

// Set sets a variable to v, as json.Marshal sees it. A new variable gets the
// type its JSON suggests; one that exists keeps its type.
func (n *Namespace) Set(ctx context.Context, key string, v any) error {
	j, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return n.SetJSON(ctx, key, j)
}

// SetJSON sets a variable to a JSON value. It takes its turn among the
// namespace's tasks and returns when it is done. The text may have MaxSetBytes;
// a large one is sent in parts before. Errors, among others: ErrLimit.
func (n *Namespace) SetJSON(ctx context.Context, key string, value json.RawMessage) error {
	if err := n.check(); err != nil {
		return err
	}
	msg, err := n.setCall(ctx, key, value)
	if err != nil {
		return fmt.Errorf("set %s in %s: %w", key, n.name, err)
	}
	return n.write(ctx, "set "+key+" in", msg)
}

// SetJSONAsync is SetJSON for programs that have thousands of calls in flight:
// see Client.RunAsync. The text must fit a call.
func (n *Namespace) SetJSONAsync(ctx context.Context, key string, value json.RawMessage, done func(error)) error {
	msg := &api.Call{Op: &api.Call_Set{Set: &api.SetKey{Id: NewID(), Namespace: n.name, Key: key, Json: value}}}
	return n.async(ctx, msg, true, func(r *api.Reply, err error) {
		if err == nil {
			err = newInfo(r.GetTask()).Err()
		}
		done(err)
	})
}

// VariableAsync is Variable for programs that have thousands of calls in
// flight: see Client.RunAsync.
func (n *Namespace) VariableAsync(ctx context.Context, key string, done func(*Variable, error)) error {
	msg := &api.Call{Stale: n.stale, Op: &api.Call_Get{Get: &api.GetKey{Namespace: n.name, Key: key}}}
	return n.async(ctx, msg, false, func(r *api.Reply, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		v := r.GetVariable()
		done(&Variable{JSON: v.GetJson(), Type: v.GetType(), Version: v.GetVersion(), Age: time.Duration(r.Age)}, nil)
	})
}

// Delete removes a variable or declaration. It takes its turn among the
// namespace's tasks and returns when it is done.
func (n *Namespace) Delete(ctx context.Context, key string) error {
	return n.write(ctx, "delete "+key+" in", &api.Call{Op: &api.Call_Delete{Delete: &api.DeleteKey{Id: NewID(), Namespace: n.name, Key: key}}})
}

// Drop removes the namespace with all that is in it, when the tasks submitted
// to it before are finished.
func (n *Namespace) Drop(ctx context.Context) error {
	return n.write(ctx, "drop", &api.Call{Op: &api.Call_Drop{Drop: &api.DropNamespace{Id: NewID(), Namespace: n.name}}})
}

// NamespaceVersion is one version of a namespace that is kept.
type NamespaceVersion struct {
	Number     uint64
	Made       time.Time
	Task       string // that made it
	Changed    int    // variables and declarations it put or removed
	Restorable bool   // Restore can bring it back
}

// History returns the versions of the namespace that are kept, the newest
// first. A version that is older, or lies before a change that was too large to
// keep, cannot be restored.
func (n *Namespace) History(ctx context.Context) ([]NamespaceVersion, error) {
	r, err := n.read(ctx, &api.Call{Op: &api.Call_GetHistory{GetHistory: &api.GetHistory{Namespace: n.name}}})
	if err != nil {
		return nil, fmt.Errorf("history of %s: %w", n.name, err)
	}
	var out []NamespaceVersion
	for _, v := range r.GetHistory().GetVersions() {
		out = append(out, NamespaceVersion{Number: v.Number, Made: when(v.Made), Task: v.Task, Changed: int(v.Changed), Restorable: v.Restorable})
	}
	return out, nil
}

// Restore makes the namespace what it was at a version that is kept. That is a
// change like any other: it takes its turn among the namespace's tasks, makes a
// new version, and can be undone in the same way. Errors, among others:
// ErrNotFound when there is no such version or it is no longer kept.
func (n *Namespace) Restore(ctx context.Context, version uint64) error {
	return n.write(ctx, "restore", &api.Call{Op: &api.Call_Restore{Restore: &api.RestoreNamespace{Id: NewID(), Namespace: n.name, Version: version}}})
}

// Fork makes a namespace of the name to with all that is committed in this one
// at that moment; tasks that are running or queued here are not in it. Errors,
// among others: ErrConflict when to exists, ErrNotFound, ErrLimit.
func (n *Namespace) Fork(ctx context.Context, to string) error {
	if err := n.check(); err != nil {
		return err
	}
	target := &Namespace{c: n.c, name: to}
	return target.write(ctx, "fork "+n.name+" to", &api.Call{Op: &api.Call_Fork{Fork: &api.ForkNamespace{Id: NewID(), Namespace: to, From: n.name}}})
}

// Contents is what a namespace held at one version, in its stored form: opaque
// here; Export of package namespace makes a file of it.
type Contents struct {
	Version uint64
	Items   map[string][]byte
}

// Export reads all that the namespace holds into memory, large values in parts.
// Errors, among others: ErrLimit when the others are too many to be read at once,
// ErrConflict when the namespace changed all the time.
func (n *Namespace) Export(ctx context.Context) (*Contents, error) {
	return n.whole(ctx)
}

// Import makes the namespace of items that were exported. Errors, among others:
// ErrConflict when the namespace exists, ErrLimit.
func (n *Namespace) Import(ctx context.Context, items map[string][]byte) error {
	if err := n.check(); err != nil {
		return err
	}
	q := &api.ImportNamespace{Id: NewID(), Namespace: n.name}
	var err error
	if q.Items, err = n.importItems(ctx, slices.Sorted(maps.Keys(items)), items); err != nil {
		return fmt.Errorf("import into %s: %w", n.name, err)
	}
	return n.write(ctx, "import into", &api.Call{Op: &api.Call_Import{Import: q}})
}

// NamespaceInfo describes a namespace.
type NamespaceInfo struct {
	Name             string
	Version          uint64 // changes committed
	Epoch            uint64 // of its last placement on a worker
	Engine           string // of its cells; empty in a list
	Worker           string // where it is, or empty
	Items            int    // variables, declarations, imports, and the engine where it is named
	Bytes            int64  // of them, encoded
	Queue            int    // tasks that are not finished
	Created, Changed time.Time
	Variables        []VariableInfo    // by name; empty in a list
	Declarations     []DeclarationInfo // in the order in which they must be read; empty in a list
}

// VariableInfo describes a variable.
type VariableInfo struct {
	Name, Type string
	Bytes      int64
	Version    uint64 // of the namespace when it was last changed
}

// DeclarationInfo describes a declaration or import.
type DeclarationInfo struct{ Name, Kind, Source string }

// Show describes the namespace and what is in it.
func (n *Namespace) Show(ctx context.Context) (*NamespaceInfo, error) {
	r, err := n.read(ctx, &api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: n.name}}})
	if err != nil {
		return nil, fmt.Errorf("namespace %s: %w", n.name, err)
	}
	return newNamespaceInfo(r.GetNamespace()), nil
}

// Items returns what package namespace needs to check a cell against: the items
// of the namespace, but of large variables only how they begin.
func (n *Namespace) Items(ctx context.Context) (map[string][]byte, error) {
	ns, err := n.stored(ctx)
	if err != nil {
		return nil, err
	}
	items := map[string][]byte{}
	for _, it := range ns.GetStored() {
		items[it.Key] = it.Value
	}
	return items, nil
}

// Namespaces returns the namespaces whose names match a glob ('*' and '?';
// empty: all), by name.
func (c *Client) Namespaces(ctx context.Context, pattern string) ([]*NamespaceInfo, error) {
	var out []*NamespaceInfo
	from := ""
	for {
		r, err := c.conn.do(ctx, &api.Call{Op: &api.Call_ListNamespaces{ListNamespaces: &api.ListNamespaces{From: from, Pattern: pattern}}}, false)
		if err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		before := len(out)
		for _, ns := range r.GetNamespaces().GetNamespaces() {
			if ns.Name > from || from == "" {
				out = append(out, newNamespaceInfo(ns))
			}
		}
		if !r.GetNamespaces().GetMore() || len(out) == before {
			return out, nil
		}
		from = out[len(out)-1].Name
	}
}

func (n *Namespace) read(ctx context.Context, msg *api.Call) (*api.Reply, error) {
	if err := n.check(); err != nil {
		return nil, err
	}
	msg.Stale = n.stale
	return n.c.conn.do(ctx, msg, false)
}

func (n *Namespace) async(ctx context.Context, msg *api.Call, long bool, done func(*api.Reply, error)) error {
	if err := n.check(); err != nil {
		return err
	}
	_, err := n.c.conn.start(ctx, msg, long, done)
	return err
}

func (n *Namespace) write(ctx context.Context, verb string, msg *api.Call) error {
	if err := n.check(); err != nil {
		return err
	}
	r, err := n.c.conn.do(ctx, msg, true)
	if err == nil {
		_, err = n.c.final(ctx, r.GetTask())
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verb, n.name, err)
	}
	return nil
}

func newNamespaceInfo(n *api.Namespace) *NamespaceInfo {
	out := &NamespaceInfo{Name: n.GetName(), Version: n.GetVersion(), Epoch: n.GetEpoch(), Worker: n.GetWorker(), Engine: n.GetEngine(), Items: int(n.GetItems()),
		Bytes: int64(n.GetBytes()), Queue: int(n.GetQueue()), Created: when(n.GetCreated()), Changed: when(n.GetChanged())}
	for _, v := range n.GetVariables() {
		out.Variables = append(out.Variables, VariableInfo{v.Name, v.Type, int64(v.Bytes), v.Version})
	}
	for _, d := range n.GetDeclarations() {
		out.Declarations = append(out.Declarations, DeclarationInfo{d.Name, d.Kind, d.Source})
	}
	return out
}
