package replica

import (
	"farm/api"
	"farm/namespace"
	"farm/scheduler"
)

// transform submits a task that changes a whole namespace and that the
// scheduler carries out itself, and answers the call with it when it is final.
func (n *Node) transform(c *call, q interface {
	GetId() string
	GetNamespace() string
}, kind scheduler.Kind, body []byte) {
	n.run(c, &scheduler.Submit{ID: q.GetId(), Namespace: q.GetNamespace(), Kind: kind, Body: body}, func(t *scheduler.Task) { c.task(taskView(t)) })
}

// importItems makes a namespace of items: a patch that fits nothing but a
// namespace that does not exist.
func (n *Node) importItems(c *call, q *api.ImportNamespace) {
	items := namespace.Items{}
	change := scheduler.Change{At: 1}
	for _, it := range q.GetItems() {
		items[it.GetKey()] = it.GetValue()
		change.Put = append(change.Put, scheduler.Item{Key: it.GetKey(), Value: it.GetValue()})
	}
	change.Sort()
	if err := namespace.Validate(items); err != nil {
		c.namespaceError(q.GetNamespace(), "", err)
		return
	}
	switch size := change.Size(); {
	case len(items) != len(change.Put) || len(items) == 0:
		c.fail(api.Code_INVALID, "an import has at least one item, and none of them twice")
		return
	case size > scheduler.MaxChangeBytes:
		c.fail(api.Code_LIMIT, "the items have %d bytes, the limit of an import is %d", size, scheduler.MaxChangeBytes)
		return
	}
	n.transform(c, q, scheduler.Patch, change.Encode())
}
