package sim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"strings"
	"time"

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
	var sent api.Work
	if len(body) > 0 && body[0] == '\n' && proto.Unmarshal(body, &sent) == nil { // a task submitted it
		body = []byte(sent.Source)
	}
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

// child is a task that a task submits.
type child struct {
	id, space, job string
	work           work
	delay          time.Duration
	queue, key     string
	after          string // another child of the same task
	when           scheduler.When
}

// Where and what children are. Those that others submit too are the same for all.
const (
	childSpaces = 5 // three namespaces, and private contexts
	named       = 5 // names that several tasks submit
	maxLine     = 3 // parents above a task that submits
)

// children is what a task submits: which, and what they do, follows from its name.
func children(op, name, job string) (list []child) {
	if op != opSpawn && op != opRefused {
		return nil
	}
	h := number(name)
	for i := range 1 + h%3 {
		list = append(list, childOf(fmt.Sprintf("%s/%d", name, i+1)))
	}
	list[0].job = job
	for i := 1; i < len(list); i++ {
		if h := number(list[i].id); h%3 == 0 {
			list[i].after, list[i].when = list[i-1].id, scheduler.AllSucceeded+scheduler.When(h/3%3)
		}
	}
	if h%2 == 0 {
		list = append(list, childOf(fmt.Sprint("s", h/2%named)))
	}
	if op == opRefused {
		list = append(list, child{id: "not/derived"})
	}
	return list
}

func childOf(id string) child {
	h := number(id)
	k := child{id: id, work: work{op: opAppend}}
	if i := h % childSpaces; i < 3 {
		k.space = string(rune('a' + i))
	}
	if h%4 == 0 && strings.Count(id, "/") < maxLine {
		k.work = work{opSpawn, int(h / 4 % 2)}
	}
	if h%7 == 0 {
		k.delay = time.Duration(h%2000) * time.Millisecond
	}
	k.queue, k.key = []string{"", "q1", "q2"}[h/5%3], []string{"", "x", "y"}[h/11%3]
	return k
}

// submit is a child as a worker reports it.
func (c *child) submit() *api.Submit {
	s := &api.Submit{Id: c.id, Namespace: c.space, Job: c.job, Delay: int64(c.delay), Retries: 1, Queue: c.queue, Key: c.key, Work: &api.Work{Source: string(c.work.body())}}
	if c.after != "" {
		s.After, s.AfterWhen = []string{c.after}, []string{"", "all", "any", "finished"}[c.when]
	}
	return s
}

func number(text string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return h.Sum32()
}

// effect is what a task that succeeds does to a namespace: it puts its name
// behind the item "log", and puts or removes one of four others. So the log says
// which tasks took effect, how often and in which order.
func effect(op, name string, items map[string]string) scheduler.Change {
	var c scheduler.Change
	if op == opLook {
		return c
	}
	h := number(name)
	key := fmt.Sprint("k", h%4)
	if _, there := items[key]; there && h%3 == 0 {
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
	c := &scheduler.Submit{ID: e.ID, Namespace: e.NS, Job: e.Job, Kind: scheduler.Run, Retries: uint32(e.Try), Delay: int64(e.For), Options: e.options()}
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
