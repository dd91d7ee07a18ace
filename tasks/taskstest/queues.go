package taskstest

import (
	"slices"

	"farm/api"
	"farm/scheduler"
)

// options are what a Submit asks for beyond the fields of a plain task.
func options(s *api.Submit) *scheduler.Options {
	slices.Sort(s.Needs)
	o := &scheduler.Options{Needs: slices.Compact(s.Needs), Key: s.Key}
	if s.Queue != scheduler.DefaultQueue {
		o.Queue = s.Queue
	}
	if u := s.Unique; u != nil {
		o.Unique = &scheduler.Unique{Key: u.Key, Period: u.Period, While: scheduler.WhilePeriod}
		switch u.While {
		case "queued":
			o.Unique.While = scheduler.WhileQueued
		case "running":
			o.Unique.While = scheduler.WhileRunning
		}
	}
	if o.None() {
		return nil
	}
	return o
}

func showOptions(v *api.Task, t *scheduler.Task) {
	v.Queue = scheduler.DefaultQueue
	o := t.Options
	if o == nil {
		return
	}
	v.Needs, v.Key = o.Needs, o.Key
	if o.Queue != "" {
		v.Queue = o.Queue
	}
	if o.Unique != nil {
		v.Unique = o.Unique.Key
	}
}

func (n *node) setQueue(q *api.SetQueue, reply func(*api.Reply)) {
	rate := func(r *api.Rate) *scheduler.Rate {
		if r == nil {
			return nil
		}
		return &scheduler.Rate{Count: r.Count, Period: r.Period, Burst: r.Burst}
	}
	c := &scheduler.SetQueue{Name: q.Name, Paused: q.Paused, Concurrency: q.Concurrency, KeyConcurrency: q.KeyConcurrency, Rate: rate(q.Rate), KeyRate: rate(q.KeyRate)}
	n.then(c, reply, func() *api.Reply { return n.queues(q.Name) })
}

// queues are all queues, or one.
func (n *node) queues(name string) *api.Reply {
	infos := n.state.Queues()
	if name != "" {
		infos = []scheduler.QueueInfo{n.state.Queue(name)}
	}
	list := &api.QueueList{}
	for _, i := range infos {
		rate := func(r scheduler.Rate) *api.Rate {
			return &api.Rate{Count: r.Count, Period: r.Period, Burst: r.Burst}
		}
		v := &api.Queue{Name: i.Name, Paused: i.Paused, Concurrency: i.Bounds.Concurrency, Rate: rate(i.Bounds.Rate),
			KeyConcurrency: i.KeyBounds.Concurrency, KeyRate: rate(i.KeyBounds.Rate),
			Waiting: uint64(i.Waiting), Running: uint64(i.Running), Delayed: uint64(i.Delayed), Limited: uint64(i.Limited), Keys: uint64(i.Keys)}
		for _, k := range i.Busiest {
			v.Busiest = append(v.Busiest, &api.QueueKey{Key: k.Key, Running: uint64(k.Running), Waiting: uint64(k.Waiting)})
		}
		list.Queues = append(list.Queues, v)
	}
	return &api.Reply{Result: &api.Reply_Queues{Queues: list}}
}
