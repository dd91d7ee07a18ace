package form

import (
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/scheduler"
)

// errNoWork is returned for a submission that says nothing to do.
var errNoWork = errors.New("the task says nothing to do")

// Submit is the command that a submission asks for: of a client, of a task, or of a
// schedule. It does not look at what Step decides; the error says what cannot be
// meant at all.
func Submit(s *api.Submit) (*scheduler.Submit, error) {
	if s.GetWork() == nil {
		return nil, errNoWork
	}
	if err := handlerAllowed(s); err != nil {
		return nil, err
	}
	body, err := proto.Marshal(s.Work)
	if err != nil {
		return nil, fmt.Errorf("the task cannot be encoded: %w", err)
	}
	c := &scheduler.Submit{ID: s.Id, Namespace: s.Namespace, Job: s.Job, Kind: scheduler.Run, Body: body,
		Timeout: s.Timeout, Retries: s.Retries, Priority: s.Priority, Delay: s.Delay, Options: options(s)}
	if s.Job != "" {
		c.Inputs = uint64(max(len(s.Work.Inputs), 1))
	}
	return c, nil
}

// handlerAllowed says why a task that names a handler cannot be meant.
func handlerAllowed(s *api.Submit) error {
	w := s.Work
	switch {
	case w.Handler == "":
	case !scheduler.ValidName(w.Handler):
		return errors.New("a handler's name is not a name: " + w.Handler)
	case s.Namespace != "":
		return errors.New("a handler runs in its worker's own process and has no namespace")
	case w.Source != "" || w.Call != "" || w.Set != nil || len(w.Inputs) > 0 || len(w.Files) > 0:
		return errors.New("a task calls a handler with one input, or runs a cell")
	}
	return nil
}

// options is what a request asks for beyond the fields of a plain task, nil when that
// is nothing.
func options(s *api.Submit) *scheduler.Options {
	o := &scheduler.Options{Needs: s.Needs, Key: s.Key, Timing: timing(s)}
	if h := s.Work.Handler; h != "" { // only workers that have it are given the task
		o.Needs = append(slices.Clone(o.Needs), scheduler.NeedHandler+h)
		slices.Sort(o.Needs)
		o.Needs = slices.Compact(o.Needs)
	}
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

// unique is what a task asked for of its unique key, as it was asked for.
func unique(u *scheduler.Unique) *api.Unique {
	if u == nil {
		return nil
	}
	v := &api.Unique{Key: u.Key, Period: u.Period}
	for name, w := range whiles {
		if w == u.While {
			v.While = name
		}
	}
	return v
}

// whens are the conditions of dependent tasks by their name on the wire.
var whens = []string{scheduler.AllSucceeded: "all", scheduler.AnySucceeded: "any", scheduler.AllFinished: "finished"}

// timing is what a request asks for of time and of other tasks. A condition there is
// not is refused by the scheduler.
func timing(s *api.Submit) scheduler.Timing {
	t := scheduler.Timing{Backoff: s.Backoff, BackoffMax: s.BackoffMax, Deadline: s.Deadline, Within: s.Within, At: s.At, Keep: s.Keep, After: s.After}
	for w, name := range whens {
		if name == s.AfterWhen && name != "" {
			t.AfterWhen = scheduler.When(w)
		}
	}
	if len(s.After) > 0 && s.AfterWhen == "" {
		t.AfterWhen = scheduler.AllSucceeded
	}
	return t
}
