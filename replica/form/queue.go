package form

import (
	"farm/api"
	"farm/scheduler"
)

// SetQueue is the command that changes a queue's settings.
func SetQueue(q *api.SetQueue) *scheduler.SetQueue {
	return &scheduler.SetQueue{Name: q.GetName(), Paused: q.Paused, Concurrency: q.Concurrency, KeyConcurrency: q.KeyConcurrency,
		Rate: rateOf(q.Rate), KeyRate: rateOf(q.KeyRate)}
}

func rateOf(r *api.Rate) *scheduler.Rate {
	if r == nil {
		return nil
	}
	return &scheduler.Rate{Count: r.Count, Period: r.Period, Burst: r.Burst}
}

func rate(r scheduler.Rate) *api.Rate {
	return &api.Rate{Count: r.Count, Period: r.Period, Burst: r.Burst}
}

// Queues are all queues as clients see them, or with a name that one, also when it has
// nothing, with its busiest keys.
func Queues(s *scheduler.State, name string) []*api.Queue {
	if name != "" {
		return []*api.Queue{queue(s.Queue(name))}
	}
	var list []*api.Queue
	for _, i := range s.Queues() {
		list = append(list, queue(i))
	}
	return list
}

func queue(i scheduler.QueueInfo) *api.Queue {
	v := &api.Queue{Name: i.Name, Paused: i.Paused, Concurrency: i.Bounds.Concurrency, Rate: rate(i.Bounds.Rate),
		KeyConcurrency: i.KeyBounds.Concurrency, KeyRate: rate(i.KeyBounds.Rate),
		Waiting: uint64(i.Waiting), Running: uint64(i.Running), Delayed: uint64(i.Delayed), Limited: uint64(i.Limited), Keys: uint64(i.Keys)}
	if i.Parked >= 0 {
		n := uint64(i.Parked)
		v.Parked = &n
	}
	for _, k := range i.Busiest {
		v.Busiest = append(v.Busiest, &api.QueueKey{Key: k.Key, Running: uint64(k.Running), Waiting: uint64(k.Waiting)})
	}
	return v
}
