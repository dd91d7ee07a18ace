package sim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"strings"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/scheduler"
)

// work is what the body of a task says: the operation, and its number. It is
// understood by the workers and by the checker, each for itself.
type work struct {
	op string
	n  int
}

func (k work) body() []byte { return fmt.Appendf(nil, "%s %d", k.op, k.n) }

func readWork(body []byte) (k work) {
	if _, err := fmt.Sscanf(string(body), "%s %d", &k.op, &k.n); err != nil {
		return work{op: opAppend}
	}
	return k
}

func needsWorker(op string) bool {
	switch op {
	case opPatch, opDrop, opRestore, opFork:
		return false
	}
	return true
}

// effect is what a task that succeeds does to a namespace: it puts its name
// behind the item "log", and puts or removes one of four others. So the log says
// which tasks took effect, how often and in which order.
func effect(op, name string, items map[string]string) scheduler.Change {
	var c scheduler.Change
	if op == opLook {
		return c
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	key := fmt.Sprint("k", h.Sum32()%4)
	if _, there := items[key]; there && h.Sum32()%3 == 0 {
		c.Delete = []string{key}
	} else {
		c.Put = append(c.Put, scheduler.Item{Key: key, Value: []byte(name)})
	}
	c.Put = append(c.Put, scheduler.Item{Key: "log", Value: []byte(items["log"] + name + " ")})
	c.Sort()
	return c
}

// changed is items after a change.
func changed(items map[string]string, c *scheduler.Change) map[string]string {
	next := maps.Clone(items)
	if next == nil {
		next = map[string]string{}
	}
	for _, k := range c.Delete {
		delete(next, k)
	}
	for _, it := range c.Put {
		next[it.Key] = string(it.Value)
	}
	return next
}

// submission is the command of a submit event. version is the namespace's now,
// for what restores.
func (e *Event) submission(version uint64) *scheduler.Submit {
	c := &scheduler.Submit{ID: e.ID, Namespace: e.NS, Job: e.Job, Kind: scheduler.Run, Retries: uint32(e.Try), Delay: int64(e.For)}
	if e.Job != "" {
		c.Inputs = 1
	}
	switch e.Op {
	case opPatch:
		p := scheduler.Change{Put: []scheduler.Item{{Key: e.Arg, Value: []byte(e.ID)}}}
		if e.N == 1 {
			p.Require = []scheduler.Item{{Key: e.Arg}}
		}
		c.Kind, c.Body = scheduler.Patch, p.Encode()
	case opDrop:
		c.Kind = scheduler.Drop
	case opRestore:
		c.Kind, c.Body = scheduler.Restore, scheduler.RestoreBody(version-min(version, uint64(e.N)))
	case opFork:
		c.Kind, c.Body = scheduler.Fork, scheduler.ForkBody(e.Arg)
	default:
		c.Body = work{e.Op, int(e.N)}.body()
	}
	return c
}

// replacement is the command of a retry event: it tries a task again, without what
// made it fail. One that succeeded is only to be folded yet.
func (e *Event) replacement(end scheduler.TaskState) *scheduler.Replace {
	c := &scheduler.Replace{Job: e.ID, Round: uint64(e.N), Task: e.Arg, Last: true}
	if end == scheduler.Succeeded {
		return c
	}
	it := scheduler.Replacement{ID: fmt.Sprintf("%s/r%d", e.Arg, e.N), Body: work{op: opAppend}.body()}
	c.Items = []scheduler.Replacement{it}
	return c
}

// outcome is that of an attempt that succeeded.
func outcome(task string) *api.Outcome { return &api.Outcome{Results: [][]byte{[]byte(task)}} }

// resultOf is what a finished task's outcome says.
func resultOf(b []byte) string {
	var o api.Outcome
	if proto.Unmarshal(b, &o) != nil {
		return "unreadable"
	}
	var parts []string
	for _, r := range o.Results {
		parts = append(parts, string(r))
	}
	return strings.Join(parts, " ")
}
