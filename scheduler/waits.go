package scheduler

import (
	"fmt"
	"strings"
)

// WaitsFor says in words what a queued task waits for; it is empty for others.
// It looks at the task only, so it is the nearest reason, and there may be more
// of them.
func (s *State) WaitsFor(t *Task) string {
	n := s.namespaces[t.Namespace]
	switch {
	case t.State != Queued:
		return ""
	case t.held:
		return describeAwaited(t.Awaits())
	case s.backsOff(t):
		return "its next attempt, after a failure"
	case t.NotBefore > s.Clock:
		return "its time"
	case n != nil && len(n.tasks) > 0 && n.tasks[0].ID != t.ID:
		return "its turn in namespace " + n.Name
	case t.line == nil:
		return ""
	}
	if k := t.line.key; k != nil && k.gate.shut {
		return "key " + k.name + " of queue " + k.gate.queue.name + k.gate.why(s.Clock)
	}
	if g := &t.line.lane.queue.gate; g.shut {
		return "queue " + g.queue.name + g.why(s.Clock)
	}
	return t.line.lane.class.lacks(s.workers)
}

// why says why a gate is shut.
func (g *gate) why(now int64) string {
	switch b := g.bounds(); {
	case g.key == nil && g.queue.paused:
		return ", it is paused"
	case b.Concurrency > 0 && g.running >= int(b.Concurrency):
		return fmt.Sprintf(", %d of at most %d run", g.running, b.Concurrency)
	}
	return fmt.Sprintf(", its rate lets the next begin in %d ms", (g.until-now+999_999)/1_000_000)
}

// lacks says what of a class's needs keeps its tasks waiting.
func (c *class) lacks(workers []*Worker) string {
	what := describeNeeds(c.needs)
	switch {
	case len(workers) == 0:
		return "a worker, there is none"
	case len(c.pool.workers) == 0 && what == "":
		return "a worker without handlers, there is none"
	case len(c.pool.workers) == 0 && len(c.needs) > 1:
		return what + ", no worker has all of them"
	case len(c.pool.workers) == 0:
		return what + ", no worker has it"
	case what == "":
		return "a worker, all are busy or draining"
	}
	return fmt.Sprintf("a worker with %s, all are busy or draining", what)
}

// describeNeeds is needs for people: "label gpu=1, handler resize".
func describeNeeds(needs []string) string {
	out := make([]string, len(needs))
	for i, n := range needs {
		out[i] = strings.Replace(n, ":", " ", 1)
	}
	return strings.Join(out, ", ")
}
