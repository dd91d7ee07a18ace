package replica

import (
	"farm/api"
	"farm/scheduler"
)

// optionsOf is what a request asks for beyond the fields of a plain task, nil when
// that is nothing.
func optionsOf(s *api.Submit) *scheduler.Options {
	o := &scheduler.Options{Needs: s.Needs, Key: s.Key, Timing: timingOf(s)}
	if s.Queue != scheduler.DefaultQueue {
		o.Queue = s.Queue
	}
	if u := s.Unique; u != nil {
		o.Unique = &scheduler.Unique{Key: u.Key, While: whiles[u.While], Period: u.Period}
		if u.Period > 0 && u.While == "" {
			o.Unique.While = scheduler.WhilePeriod
		}
	}
	if o.None() {
		return nil
	}
	return o
}

var whiles = map[string]scheduler.While{"queued": scheduler.WhileQueued, "running": scheduler.WhileRunning}

// showOptions puts a task's options into its view.
func showOptions(v *api.Task, t *scheduler.Task) {
	if t.Kind == scheduler.Run {
		v.Queue = scheduler.DefaultQueue
	}
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
	showTiming(v, t)
}

// showHolder answers a submit whose unique key another task has, with that task.
func (n *Node) showHolder(c *call, id string) {
	t := &api.Task{Id: id} // it may not be kept any more
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Task(id); x != nil {
			t = taskView(x)
		}
	})
	c.task(t)
}

func (n *Node) setQueue(c *call, q *api.SetQueue) {
	cmd := &scheduler.SetQueue{Name: q.GetName(), Paused: q.Paused, Concurrency: q.Concurrency, KeyConcurrency: q.KeyConcurrency,
		Rate: rateOf(q.Rate), KeyRate: rateOf(q.KeyRate)}
	n.simple(c, cmd, func() { n.listQueues(c, &api.ListQueues{Name: cmd.Name}) })
}

func rateOf(r *api.Rate) *scheduler.Rate {
	if r == nil {
		return nil
	}
	return &scheduler.Rate{Count: r.Count, Period: r.Period, Burst: r.Burst}
}

func rateView(r scheduler.Rate) *api.Rate {
	return &api.Rate{Count: r.Count, Period: r.Period, Burst: r.Burst}
}

func (n *Node) listQueues(c *call, q *api.ListQueues) {
	list := &api.QueueList{}
	n.fsm.View(func(s *scheduler.State) {
		if q.GetName() != "" {
			list.Queues = append(list.Queues, queueView(s.Queue(q.Name)))
			return
		}
		for _, i := range s.Queues() {
			list.Queues = append(list.Queues, queueView(i))
		}
	})
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Queues{Queues: list}})
}

func queueView(i scheduler.QueueInfo) *api.Queue {
	v := &api.Queue{Name: i.Name, Paused: i.Paused, Concurrency: i.Bounds.Concurrency, Rate: rateView(i.Bounds.Rate),
		KeyConcurrency: i.KeyBounds.Concurrency, KeyRate: rateView(i.KeyBounds.Rate),
		Waiting: uint64(i.Waiting), Running: uint64(i.Running), Delayed: uint64(i.Delayed), Limited: uint64(i.Limited), Keys: uint64(i.Keys)}
	for _, k := range i.Busiest {
		v.Busiest = append(v.Busiest, &api.QueueKey{Key: k.Key, Running: uint64(k.Running), Waiting: uint64(k.Waiting)})
	}
	return v
}
