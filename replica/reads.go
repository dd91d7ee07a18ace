package replica

import (
	"cmp"
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"farm/api"
	"farm/namespace"
	"farm/scheduler"
)

func isRead(c *api.Call) bool {
	switch c.Op.(type) {
	case *api.Call_Wait, *api.Call_GetTask, *api.Call_ListTasks, *api.Call_Get, *api.Call_ListNamespaces, *api.Call_GetNamespace,
		*api.Call_GetHistory, *api.Call_GetJob, *api.Call_ListJobs, *api.Call_Status:
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
		n.showTask(c, op.GetTask.GetId())
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
		n.listJobs(c, op.ListJobs)
	case *api.Call_Status:
		n.tasks.Go(func() {
			c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Status{Status: n.status(n.ctx, !c.Stale)}})
		})
	}
}

func (n *Node) wait(c *call, q *api.Wait) {
	done := func(t *scheduler.Task) { c.task(taskView(t)) }
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
	w := n.waiters.add(jobKey(q.Id), c.stream, func(e ending) { c.job(jobView(e.job)) })
	open := false
	n.fsm.View(func(s *scheduler.State) {
		j := s.Job(q.Id)
		open = j != nil && j.Finished == 0
	})
	if !open && n.waiters.drop(w) {
		n.showJob(c, q.Id)
	}
}

func (n *Node) listTasks(c *call, q *api.ListTasks) {
	limit := int(q.Limit)
	if limit == 0 {
		limit = 100
	}
	if limit > MaxListed {
		c.fail(api.Code_LIMIT, "a list has at most %d tasks", MaxListed)
		return
	}
	list := &api.TaskList{}
	size := 0
	add := func(tasks []*scheduler.Task) {
		for _, t := range tasks {
			if (q.State == "" || q.State == t.State.String()) && len(list.Tasks) < limit && size < MaxReplyBytes {
				list.Tasks = append(list.Tasks, taskView(t))
				size += len(t.Outcome)
			}
		}
	}
	n.fsm.View(func(s *scheduler.State) {
		if q.State == "" || q.State == "queued" || q.State == "running" {
			add(s.Live(q.Namespace, q.Job, scheduler.MaxLive))
		}
		if q.State != "queued" && q.State != "running" {
			add(s.Finished(q.Namespace, q.Job, limit))
		}
	})
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Tasks{Tasks: list}})
}

// listJobs finds jobs by their tasks: the state has no list of finished jobs.
func (n *Node) listJobs(c *call, q *api.ListJobs) {
	limit := int(q.Limit)
	if limit == 0 {
		limit = 100
	}
	if limit > MaxListed {
		c.fail(api.Code_LIMIT, "a list has at most %d jobs", MaxListed)
		return
	}
	var jobs []*api.Job
	n.fsm.View(func(s *scheduler.State) {
		seen := map[string]bool{"": true}
		for _, tasks := range [][]*scheduler.Task{s.Live("", "", scheduler.MaxLive), s.Finished("", "", MaxListed)} {
			for _, t := range tasks {
				if seen[t.Job] {
					continue
				}
				seen[t.Job] = true
				if j := s.Job(t.Job); j != nil {
					jobs = append(jobs, jobView(j))
				}
			}
		}
	})
	jobs = slices.DeleteFunc(jobs, func(j *api.Job) bool { return q.State != "" && q.State != j.State })
	slices.SortFunc(jobs, func(a, b *api.Job) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(a.Id, b.Id))
	})
	list := &api.JobList{Jobs: jobs[:min(limit, len(jobs))]}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Jobs{Jobs: list}})
}

func (n *Node) get(c *call, q *api.GetKey) {
	var items namespace.Items
	var version uint64
	n.fsm.View(func(s *scheduler.State) { items, version = variable(s, q.Namespace, q.Key) })
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
	var tooLarge bool
	items, versions := namespace.Items{}, map[string]uint64{}
	n.fsm.View(func(s *scheduler.State) {
		sp := s.Namespace(q.Name)
		if sp == nil || !sp.Exists() {
			return
		}
		v = spaceView(sp)
		if tooLarge = q.Items && sp.Bytes > MaxStoredBytes; tooLarge {
			return
		}
		s.Items(q.Name, 0, func(k string, b []byte, version uint64) { items[k], versions[k] = b, version })
	})
	if v == nil {
		c.fail(api.Code_NOT_FOUND, "there is no namespace %s", q.Name)
		return
	}
	if tooLarge {
		c.fail(api.Code_LIMIT, "namespace %s holds %d bytes, the limit of reading them at once is %d", q.Name, v.Bytes, MaxStoredBytes)
		return
	}
	if q.Items {
		for k, b := range items { // a map on the wire would be in any order too
			v.Stored = append(v.Stored, &api.Item{Key: k, Value: b, Version: versions[k]})
		}
		c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Namespace{Namespace: v}})
		return
	}
	vars, err1 := namespace.List(items)
	decls, err2 := namespace.Declarations(items)
	if err := errors.Join(err1, err2); err != nil {
		c.namespaceError(q.Name, "", err)
		return
	}
	for _, x := range vars {
		v.Variables = append(v.Variables, &api.VariableInfo{Name: x.Name, Type: x.Type, Bytes: uint64(x.Bytes), Version: versions["v/"+x.Name]})
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
func variable(s *scheduler.State, ns, key string) (namespace.Items, uint64) {
	items := namespace.Items{}
	b, version := s.Item(ns, "v/"+key)
	if b == nil {
		return items, 0
	}
	items["v/"+key] = b
	if owner := namespace.Owner(b); owner != "" {
		ob, v := s.Item(ns, "v/"+owner)
		items["v/"+owner] = ob
		version = max(version, v)
	}
	return items, version
}

// definitions collects everything but the variables: what names mean.
func definitions(s *scheduler.State, ns string, items namespace.Items) {
	s.Items(ns, 0, func(k string, b []byte, _ uint64) {
		if !strings.HasPrefix(k, "v/") {
			items[k] = b
		}
	})
}
