package replica

import (
	"fmt"

	"farm/api"
	"farm/namespace"
	"farm/scheduler"
)

// maxPatchTries is how often a patch is made anew because the namespace
// changed between reading it and the patch's turn.
const maxPatchTries = 100

// set sets a variable. It needs no worker: the change is worked out here, on
// data, and applied by the scheduler at its turn if what it was worked out from
// still holds; if not it is worked out again, as the next of a row of tasks
// whose ids follow from the call's, so that a repeated call meets the same row.
func (n *Node) set(c *call, q *api.SetKey, try int) {
	if !n.leads() {
		n.pass(c)
		return
	}
	var change scheduler.Change
	var err error
	n.fsm.View(func(s *scheduler.State) {
		items, _ := variable(s, q.Namespace, q.Key)
		old, known := items["v/"+q.Key]
		definitions(s, q.Namespace, items)
		var d namespace.Delta
		if d, err = namespace.SetJSON(items, q.Key, q.Json); err != nil {
			return
		}
		change = changeOf(d)
		if known {
			// Any value of the same type may have come in between.
			change.Require = []scheduler.Item{{Key: "v/" + q.Key, Value: namespace.Header(old)}}
		} else {
			change.At = versionOf(s, q.Namespace) + 1
		}
	})
	n.patch(c, q.Id, q.Namespace, q.Key, change, err, try, func(try int) { n.set(c, q, try) })
}

// remove removes a variable or declaration, if nothing else mentions it.
func (n *Node) remove(c *call, q *api.DeleteKey, try int) {
	if !n.leads() {
		n.pass(c)
		return
	}
	var change scheduler.Change
	var err error
	n.fsm.View(func(s *scheduler.State) {
		items := namespace.Items{}
		s.Items(q.Namespace, 0, func(k string, b []byte, _ uint64) { items[k] = b })
		var d namespace.Delta
		if d, err = namespace.Delete(items, q.Key); err == nil {
			change = changeOf(d)
			change.At = versionOf(s, q.Namespace) + 1
		}
	})
	n.patch(c, q.Id, q.Namespace, q.Key, change, err, try, func(try int) { n.remove(c, q, try) })
}

// patch submits a change as a task and answers the call with it, or tries
// again when the change no longer fits. planErr is why there is no change.
func (n *Node) patch(c *call, id, ns, key string, change scheduler.Change, planErr error, try int, again func(try int)) {
	if planErr != nil {
		n.unplanned(c, id, ns, key, planErr, try, again)
		return
	}
	cmd := &scheduler.Submit{ID: tryID(id, try), Namespace: ns, Kind: scheduler.Patch, Body: change.Encode()}
	n.run(c, cmd, func(t *scheduler.Task) { n.patched(c, id, t, try, again) })
}

// patched looks at how a try ended. It may run on the apply path: the next try
// goes elsewhere.
func (n *Node) patched(c *call, id string, t *scheduler.Task, try int, again func(try int)) {
	switch {
	case t.State != scheduler.Failed || !conflicted(t):
		v := taskView(t)
		v.Id = id
		c.task(v)
	case try+1 == maxPatchTries:
		c.fail(api.Code_CONFLICT, "namespace %s changed %d times while the change waited for its turn", t.Namespace, maxPatchTries)
	default:
		n.tasks.Go(func() { again(try + 1) })
	}
}

// unplanned answers a call for which no change could be worked out, unless it
// is a repeat of one that was carried out before.
func (n *Node) unplanned(c *call, id, ns, key string, planErr error, try int, again func(try int)) {
	var t *scheduler.Task
	n.fsm.View(func(s *scheduler.State) { t = s.Task(tryID(id, try)) })
	if t == nil || !t.State.Final() {
		c.namespaceError(ns, key, planErr)
		return
	}
	n.patched(c, id, t, try, again)
}

func conflicted(t *scheduler.Task) bool {
	code, _ := t.Refusal()
	return code == scheduler.Conflict
}

func tryID(id string, try int) string {
	if try == 0 {
		return id
	}
	return fmt.Sprintf("%s.%d", id, try)
}

func versionOf(s *scheduler.State, ns string) uint64 {
	if sp := s.Namespace(ns); sp != nil {
		return sp.Version
	}
	return 0
}

func changeOf(d namespace.Delta) scheduler.Change {
	c := scheduler.Change{Delete: d.Delete}
	for k, v := range d.Put {
		c.Put = append(c.Put, scheduler.Item{Key: k, Value: v})
	}
	c.Sort()
	return c
}
