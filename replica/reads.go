package replica

import (
	"errors"
	"path"
	"time"

	"farm/api"
	"farm/internal/carry"
	"farm/namespace"
	"farm/replica/form"
	"farm/scheduler"
)

func isRead(c *api.Call) bool {
	switch c.Op.(type) {
	case *api.Call_Wait, *api.Call_GetTask, *api.Call_ListTasks, *api.Call_Get, *api.Call_ListNamespaces, *api.Call_GetNamespace,
		*api.Call_GetHistory, *api.Call_GetJob, *api.Call_ListJobs, *api.Call_ListQueues, *api.Call_ListFailures, *api.Call_GetSchedule, *api.Call_ListSchedules, *api.Call_Status:
		return true
	}
	return false
}

// answer answers a read from this node's state, which is as fresh as the
// caller asked for.
func (n *Node) answer(c *call) {
	switch op := c.Op.(type) {
	case *api.Call_Wait:
		n.wait(c, op.Wait)
	case *api.Call_GetTask:
		n.getTask(c, op.GetTask)
	case *api.Call_ListTasks:
		n.listTasks(c, op.ListTasks)
	case *api.Call_Get:
		n.get(c, op.Get)
	case *api.Call_ListNamespaces:
		n.listNamespaces(c, op.ListNamespaces)
	case *api.Call_GetNamespace:
		n.getNamespace(c, op.GetNamespace)
	case *api.Call_GetHistory:
		n.getHistory(c, op.GetHistory)
	case *api.Call_GetJob:
		n.getJob(c, op.GetJob)
	case *api.Call_ListJobs:
		n.tasks.Go(func() { n.listJobs(c, op.ListJobs) })
	case *api.Call_ListFailures:
		n.listFailures(c, op.ListFailures)
	case *api.Call_ListQueues:
		n.listQueues(c, op.ListQueues)
	case *api.Call_GetSchedule:
		n.showSchedule(c, op.GetSchedule.GetName())
	case *api.Call_ListSchedules:
		n.listSchedules(c)
	case *api.Call_Status:
		n.tasks.Go(func() {
			c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Status{Status: n.status(n.ctx, !c.Stale)}})
		})
	}
}

func (n *Node) wait(c *call, q *api.Wait) {
	done := func(t *scheduler.Task) { c.task(form.Task(t)) }
	w := n.waiters.add(q.Id, c.stream, func(e ending) { done(e.task) })
	known := false
	n.fsm.View(func(s *scheduler.State) { known = s.Task(q.Id) != nil })
	if !known {
		if n.waiters.drop(w) {
			c.fail(api.Code_NOT_FOUND, "there is no task %s", q.Id)
		}
		return
	}
	n.ifFinal(q.Id, w, done)
	if q.Timeout > 0 {
		n.waiters.limit(w, time.Duration(q.Timeout), func() {
			c.fail(api.Code_TIMEOUT, "task %s is not finished after %v", q.Id, time.Duration(q.Timeout))
		})
	}
}

func (n *Node) getJob(c *call, q *api.GetJob) {
	if !q.Wait {
		n.showJob(c, q.Id)
		return
	}
	w := n.waiters.add(jobKey(q.Id), c.stream, func(e ending) { c.job(form.Job(e.job)) })
	open := false
	n.fsm.View(func(s *scheduler.State) {
		j := s.Job(q.Id)
		open = j != nil && j.Finished == 0
	})
	if !open && n.waiters.drop(w) {
		n.showJob(c, q.Id)
	}
}

func (n *Node) get(c *call, q *api.GetKey) {
	var list stored
	var version uint64
	n.fsm.View(func(s *scheduler.State) { list, version = variable(s, q.Namespace, q.Key) })
	if list.inParts() == 0 {
		n.showVariable(c, q, list, version)
		return
	}
	n.tasks.Go(func() { n.showVariable(c, q, list, version) })
}

// showVariable answers a get from the items of a variable.
func (n *Node) showVariable(c *call, q *api.GetKey, list stored, version uint64) {
	items, release, err := n.whole(list)
	if errors.Is(err, errGone) {
		items, release, err = n.readWhole(func(s *scheduler.State) stored {
			list, version = variable(s, q.Namespace, q.Key)
			return list
		})
	}
	if err != nil {
		c.fail(api.Code_UNAVAILABLE, "%s.%s: %v", q.Namespace, q.Key, err)
		return
	}
	defer release()
	j, typ, err := namespace.GetJSON(items, q.Key)
	if err != nil {
		c.namespaceError(q.Namespace, q.Key, err)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Variable{Variable: &api.Variable{Json: j, Type: typ, Version: version}}})
}

func (c *call) namespaceError(ns, key string, err error) {
	var inUse *namespace.InUseError
	var limit *namespace.LimitError
	switch {
	case errors.Is(err, namespace.ErrNoVariable):
		c.fail(api.Code_NOT_FOUND, "namespace %s has no variable %s", ns, key)
	case errors.As(err, &inUse):
		c.fail(api.Code_CONFLICT, "%v", err)
	case errors.As(err, &limit):
		c.fail(api.Code_LIMIT, "%s.%s: %v", ns, key, err)
	default:
		c.fail(api.Code_INVALID, "%s.%s: %v", ns, key, err)
	}
}

func (n *Node) listNamespaces(c *call, q *api.ListNamespaces) {
	limit := int(q.Limit)
	if limit == 0 {
		limit = 1000
	}
	if limit > MaxNamespacesList {
		c.fail(api.Code_LIMIT, "a list has at most %d namespaces", MaxNamespacesList)
		return
	}
	if _, err := path.Match(q.Pattern, ""); err != nil {
		c.fail(api.Code_INVALID, "%q is not a pattern", q.Pattern)
		return
	}
	list := &api.NamespaceList{}
	n.fsm.View(func(s *scheduler.State) {
		for _, sp := range s.Namespaces(q.From, scheduler.MaxNamespaces) {
			if ok, _ := path.Match(q.Pattern, sp.Name); q.Pattern != "" && !ok {
				continue
			}
			if len(list.Namespaces) == limit {
				list.More = true
				return
			}
			list.Namespaces = append(list.Namespaces, spaceView(sp))
		}
	})
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Namespaces{Namespaces: list}})
}

func (n *Node) getNamespace(c *call, q *api.GetNamespace) {
	var v *api.Namespace
	var list stored
	var versions []uint64
	whole := uint64(0)
	n.fsm.View(func(s *scheduler.State) {
		sp := s.Namespace(q.Name)
		if sp == nil || !sp.Exists() {
			return
		}
		v = spaceView(sp)
		if whole = sp.Bytes - sp.InParts; q.Items && whole > MaxStoredBytes {
			return
		}
		s.StoredItems(q.Name, 0, func(it scheduler.Item, version uint64) { list, versions = append(list, it), append(versions, version) })
	})
	switch {
	case v == nil:
		c.fail(api.Code_NOT_FOUND, "there is no namespace %s", q.Name)
	case q.Items && whole > MaxStoredBytes:
		c.fail(api.Code_LIMIT, "namespace %s holds %d bytes besides its large values, the limit of reading them at once is %d", q.Name, whole, MaxStoredBytes)
	case list.inParts() > 0:
		n.tasks.Go(func() { n.showNamespace(c, q, v, list, versions) })
	default:
		n.showNamespace(c, q, v, list, versions)
	}
}

// showNamespace answers with a namespace's items as they are stored, or with
// what they mean. Of a large variable only the beginning is looked at.
func (n *Node) showNamespace(c *call, q *api.GetNamespace, v *api.Namespace, list stored, versions []uint64) {
	items, version := namespace.Items{}, map[string]uint64{}
	inParts := map[string]uint64{}
	for i, it := range list {
		b, err := n.begin(it)
		if err != nil {
			n.again(c, err) // it changed meanwhile
			return
		}
		items[it.Key], version[it.Key] = b, versions[i]
		if it.Parts != nil && namespace.IsVariable(it.Key) {
			inParts[it.Key] = it.Parts.Size - uint64(len(b))
		}
		if q.Items {
			v.Stored = append(v.Stored, &api.Item{Key: it.Key, Value: b, Version: versions[i], Parts: carry.Manifest(it.Parts)})
		}
	}
	if q.Items {
		c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Namespace{Namespace: v}})
		return
	}
	vars, err1 := namespace.List(items)
	decls, err2 := namespace.Declarations(items)
	engine, err3 := namespace.EngineOf(items)
	if err := errors.Join(err1, err2, err3); err != nil {
		c.namespaceError(q.Name, "", err)
		return
	}
	v.Engine = engine
	for _, x := range vars {
		key := "v/" + x.Name
		v.Variables = append(v.Variables, &api.VariableInfo{Name: x.Name, Type: x.Type, Bytes: uint64(x.Bytes) + inParts[key], Version: version[key]})
	}
	for _, d := range decls {
		v.Declarations = append(v.Declarations, &api.Declaration{Name: d.Key, Kind: d.Kind, Source: d.Source})
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Namespace{Namespace: v}})
}

func (n *Node) getHistory(c *call, q *api.GetHistory) {
	var versions []scheduler.Version
	n.fsm.View(func(s *scheduler.State) { versions = s.History(q.Namespace) })
	if len(versions) == 0 {
		c.fail(api.Code_NOT_FOUND, "there is no namespace %s", q.Namespace)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_History{History: historyView(versions)}})
}

// variable collects the items that say what a variable is: its own, and that
// of the variable it shares memory with.
func variable(s *scheduler.State, ns, key string) (list stored, version uint64) {
	it, version, there := s.Stored(ns, "v/"+key)
	if !there {
		return nil, 0
	}
	list = append(list, it)
	if it.Parts != nil {
		return list, version // it has its own value
	}
	if owner := namespace.Owner(it.Value); owner != "" {
		if o, v, there := s.Stored(ns, "v/"+owner); there {
			list, version = append(list, o), max(version, v)
		}
	}
	return list, version
}

// definitions collects everything but the variables: what names mean.
func definitions(s *scheduler.State, ns string) (list stored) {
	s.StoredItems(ns, 0, func(it scheduler.Item, _ uint64) {
		if !namespace.IsVariable(it.Key) {
			list = append(list, it)
		}
	})
	return list
}
