package replica

import (
	"errors"
	"fmt"

	"farm/api"
	"farm/internal/carry"
	"farm/internal/crash"
	"farm/internal/part"
	"farm/namespace"
	"farm/replica/form"
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
	var p setPlan
	n.fsm.View(func(s *scheduler.State) { p = planSet(s, q) })
	if q.Parts == nil && p.items.inParts() == 0 && len(q.Json) < part.LargeBytes {
		n.setWhole(c, q, try, &p, q.Json, nil)
		return
	}
	n.tasks.Go(func() { n.setLarge(c, q, try, &p) })
}

// setPlan is what a set is worked out from, at one version.
type setPlan struct {
	items   stored // that say what the variable is, and what names mean
	known   bool   // the variable exists
	version uint64
	whole   uint64
}

func planSet(s *scheduler.State, q *api.SetKey) setPlan {
	p := setPlan{version: versionOf(s, q.Namespace), whole: wholeBytes(s, q.Namespace)}
	p.items, _ = variable(s, q.Namespace, q.Key)
	p.known = len(p.items) > 0
	p.items = append(p.items, definitions(s, q.Namespace)...)
	return p
}

// setLarge is the rest of set where large values are at hand.
func (n *Node) setLarge(c *call, q *api.SetKey, try int, p *setPlan) {
	text := q.Json
	if q.Parts != nil {
		m, err := carry.ReadManifest(q.Parts)
		switch {
		case err != nil:
			c.fail(api.Code_INVALID, "%v", err)
			return
		case m.Size > MaxSetBytes:
			c.fail(api.Code_LIMIT, "the JSON text has %d bytes, the limit is %d", m.Size, MaxSetBytes)
			return
		}
		release, err := n.bulk(int64(m.Size))
		if err != nil {
			n.pass(c)
			return
		}
		defer release()
		if text, err = n.assemble(scheduler.Item{Parts: m}); err != nil {
			n.unplanned(c, q.Id, q.Namespace, q.Key, fmt.Errorf("the JSON text was not sent, or too long ago: %w", err), try, func(try int) { n.set(c, q, try) })
			return
		}
	}
	items, release, err := n.whole(p.items)
	if err != nil {
		n.pass(c) // it changed: plan anew
		return
	}
	defer release()
	n.setWhole(c, q, try, p, text, items)
}

// setWhole works out the change of a set and submits it. items is nil when none
// of the plan's is in parts.
func (n *Node) setWhole(c *call, q *api.SetKey, try int, p *setPlan, text []byte, items namespace.Items) {
	if items == nil {
		items = namespace.Items{}
		for _, it := range p.items {
			items[it.Key] = it.Value
		}
	}
	d, err := namespace.SetJSON(items, q.Key, text)
	change := changeOf(d)
	if p.known {
		// Any value of the same type may have come in between.
		change.Require = []scheduler.Item{{Key: "v/" + q.Key, Value: namespace.Header(items["v/"+q.Key])}}
	} else {
		change.At = p.version + 1
	}
	n.patch(c, q.Id, q.Namespace, q.Key, change, err, try, func(try int) { n.set(c, q, try) }, p.whole)
}

// remove removes a variable or declaration, if nothing else mentions it.
func (n *Node) remove(c *call, q *api.DeleteKey, try int) {
	if !n.leads() {
		n.pass(c)
		return
	}
	var list stored
	var version uint64
	n.fsm.View(func(s *scheduler.State) {
		s.StoredItems(q.Namespace, 0, func(it scheduler.Item, _ uint64) { list = append(list, it) })
		version = versionOf(s, q.Namespace)
	})
	rest := func() {
		items := namespace.Items{}
		for _, it := range list {
			b, err := n.begin(it) // names are all that matters of values
			if err != nil {
				n.pass(c)
				return
			}
			items[it.Key] = b
		}
		d, err := namespace.Delete(items, q.Key)
		change := changeOf(d)
		change.At = version + 1
		n.patch(c, q.Id, q.Namespace, q.Key, change, err, try, func(try int) { n.remove(c, q, try) }, 0)
	}
	if list.inParts() > 0 {
		n.tasks.Go(rest)
		return
	}
	rest()
}

// patch submits a change as a task and answers the call with it, or tries
// again when the change no longer fits. planErr is why there is no change; whole
// is what the namespace holds of values that are not in parts.
func (n *Node) patch(c *call, id, ns, key string, change scheduler.Change, planErr error, try int, again func(try int), whole uint64) {
	if planErr != nil {
		n.unplanned(c, id, ns, key, planErr, try, again)
		return
	}
	submit := func() {
		cmd := &scheduler.Submit{ID: tryID(id, try), Namespace: ns, Kind: patchKind(&change), Body: change.Encode()}
		if cmd.Kind == scheduler.PatchParts {
			crash.Here("patch.before-propose")
		}
		n.run(c, cmd, func(t *scheduler.Task) { n.patched(c, id, t, try, again) })
	}
	if change.Total() < part.LargeBytes && whole < part.CrowdedBytes/2 {
		submit()
		return
	}
	n.tasks.Go(func() {
		if n.carried(c, &change, whole) {
			submit()
		}
	})
}

// carried brings the large values of a change into the log, and answers the call
// when that cannot be done.
func (n *Node) carried(c *call, change *scheduler.Change, whole uint64) bool {
	for i := range change.Put {
		if size := len(change.Put[i].Value); size > scheduler.MaxValueBytes {
			c.fail(api.Code_LIMIT, "item %s has %d bytes, the limit is %d", change.Put[i].Key, size, scheduler.MaxValueBytes)
			return false
		}
	}
	err := n.carryChange(n.ctx, change, whole)
	if r := (*carry.RefusedError)(nil); errors.As(err, &r) {
		c.fail(r.Err.Code, "%s", r.Err.Message)
		return false
	}
	if err != nil {
		n.pass(c)
		return false
	}
	return true
}

// patched looks at how a try ended. It may run on the apply path: the next try
// goes elsewhere.
func (n *Node) patched(c *call, id string, t *scheduler.Task, try int, again func(try int)) {
	switch {
	case t.State != scheduler.Failed || !conflicted(t):
		v := form.Task(t)
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
