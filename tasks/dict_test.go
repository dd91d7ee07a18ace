package tasks

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"sync"

	"farm/api"
)

// dictFarm is a farm of dictionaries: namespaces that hold JSON, and know one
// kind of cell, "len(x)".
type dictFarm struct {
	mu     sync.Mutex
	vars   map[string]map[string]string
	sets   []string       // "ns.key = value", in the order in which they came
	refuse map[string]int // how often each namespace refuses to be set or read; -1: always
}

func newDictFarm() *dictFarm {
	return &dictFarm{vars: map[string]map[string]string{}, refuse: map[string]int{}}
}

// locked runs fn while no call is answered: a client's call returning does not
// order what the test does next after what the farm did for it.
func (d *dictFarm) locked(fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn()
}

func (d *dictFarm) answer(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ns := range []string{c.GetSet().GetNamespace(), c.GetGet().GetNamespace(), c.GetSubmit().GetNamespace()} {
		if left := d.refuse[ns]; left != 0 {
			d.refuse[ns] = left - 1
			return failure(api.Code_LIMIT, "no more of "+ns)
		}
	}
	switch op := c.Op.(type) {
	case *api.Call_Set:
		if d.vars[op.Set.Namespace] == nil {
			d.vars[op.Set.Namespace] = map[string]string{}
		}
		d.vars[op.Set.Namespace][op.Set.Key] = string(op.Set.Json)
		d.sets = append(d.sets, fmt.Sprintf("%s.%s = %s", op.Set.Namespace, op.Set.Key, op.Set.Json))
		return done(op.Set.Id)
	case *api.Call_Get:
		v, ok := d.vars[op.Get.Namespace][op.Get.Key]
		if !ok {
			return failure(api.Code_NOT_FOUND, "no variable")
		}
		return &api.Reply{Result: &api.Reply_Variable{Variable: &api.Variable{Json: []byte(v), Type: "T"}}}
	case *api.Call_Delete:
		delete(d.vars[op.Delete.Namespace], op.Delete.Key)
		return done(op.Delete.Id)
	case *api.Call_ListNamespaces:
		list := &api.NamespaceList{}
		for _, name := range slices.Sorted(maps.Keys(d.vars)) {
			if ok, _ := path.Match(op.ListNamespaces.Pattern, name); ok {
				list.Namespaces = append(list.Namespaces, &api.Namespace{Name: name})
			}
		}
		return &api.Reply{Result: &api.Reply_Namespaces{Namespaces: list}}
	case *api.Call_Submit:
		key := strings.TrimSuffix(strings.TrimPrefix(op.Submit.Work.Source, "len("), ")")
		var list []json.RawMessage
		task := &api.Task{Id: op.Submit.Id, Namespace: op.Submit.Namespace, State: "succeeded"}
		if json.Unmarshal([]byte(d.vars[op.Submit.Namespace][key]), &list) != nil {
			task.State, task.Error = "failed", &api.TaskError{Kind: "compile", Message: "undefined: " + key}
		} else {
			task.Value = fmt.Append(nil, len(list))
		}
		return &api.Reply{Result: &api.Reply_Task{Task: task}}
	}
	return usual(n, st, c)
}

// DictFarm starts a farm of dictionaries for the examples, which are in a
// package of their own.
func DictFarm() (addr string, stop func()) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	n := &fakeNode{addr: l.Addr().String(), answer: newDictFarm().answer, server: newServer()}
	api.RegisterFarmServer(n.server, n)
	go n.server.Serve(l)
	return n.addr, n.stop
}
