package replica

import (
	"farm/api"
	"farm/internal/carry"
	"farm/namespace"
	"farm/replica/form"
	"farm/scheduler"
)

// transform submits a task that changes a whole namespace and that the
// scheduler carries out itself, and answers the call with it when it is final.
func (n *Node) transform(c *call, q interface {
	GetId() string
	GetNamespace() string
}, kind scheduler.Kind, body []byte) {
	n.run(c, &scheduler.Submit{ID: q.GetId(), Namespace: q.GetNamespace(), Kind: kind, Body: body}, func(t *scheduler.Task) { c.task(form.Task(t)) })
}

// importItems makes a namespace of items: a patch that fits nothing but a
// namespace that does not exist. Large items come in parts, sent before.
func (n *Node) importItems(c *call, q *api.ImportNamespace) {
	change := scheduler.Change{At: 1}
	for _, it := range q.GetItems() {
		m, err := carry.ReadManifest(it.GetParts())
		if err != nil {
			c.fail(api.Code_INVALID, "item %s: %v", it.GetKey(), err)
			return
		}
		x := scheduler.Item{Key: it.GetKey(), Parts: m}
		if m == nil {
			x.Value = it.GetValue()
		}
		change.Put = append(change.Put, x)
	}
	change.Sort()
	if total := change.Total(); total > scheduler.MaxImportBytes {
		c.fail(api.Code_LIMIT, "the items have %d bytes, the limit of an import is %d", total, scheduler.MaxImportBytes)
		return
	}
	n.tasks.Go(func() {
		if n.importable(c, q, &change) && n.carried(c, &change, 0) {
			n.transform(c, q, patchKind(&change), change.Encode())
		}
	})
}

// importable tells whether items make a namespace, as far as their own form
// goes, and answers the call when they do not.
func (n *Node) importable(c *call, q *api.ImportNamespace, change *scheduler.Change) bool {
	items := namespace.Items{}
	for _, it := range change.Put {
		b, err := n.begin(it)
		if err != nil {
			if known := n.repeated(c, q.GetId()); !known {
				c.fail(api.Code_INVALID, "item %s: its parts were not sent, or too long ago", it.Key)
			}
			return false
		}
		items[it.Key] = b
	}
	if err := namespace.Validate(items); err != nil {
		c.namespaceError(q.GetNamespace(), "", err)
		return false
	}
	if len(items) != len(change.Put) || len(items) == 0 {
		c.fail(api.Code_INVALID, "an import has at least one item, and none of them twice")
		return false
	}
	return true
}

// repeated answers a call whose task is known already and final.
func (n *Node) repeated(c *call, id string) bool {
	var t *scheduler.Task
	n.fsm.View(func(s *scheduler.State) { t = s.Task(id) })
	if t == nil || !t.State.Final() {
		return false
	}
	c.task(form.Task(t))
	return true
}
