package replica

import (
	"fmt"
	"time"

	"farm/api"
	"farm/scheduler"
)

// whens are the conditions of dependent tasks by their name on the wire.
var whens = []string{scheduler.AllSucceeded: "all", scheduler.AnySucceeded: "any", scheduler.AllFinished: "finished"}

// timingOf is what a request asks for of time and of other tasks. A condition there
// is not is refused by the scheduler.
func timingOf(s *api.Submit) scheduler.Timing {
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

// showTiming puts a task's times, and what it waits for, into its view.
func showTiming(v *api.Task, t *scheduler.Task) {
	if t.State == scheduler.Queued {
		v.NotBefore = t.NotBefore
	}
	o := t.Options
	if o == nil {
		return
	}
	v.Deadline, v.Keep, v.Awaits = o.Deadline, o.Keep, t.Awaits()
	if len(o.After) > 0 {
		v.After, v.AfterWhen = o.After, whens[o.AfterWhen]
	}
}

// verdict is the error of a task that the scheduler itself failed, nil for others.
func verdict(t *scheduler.Task) *api.TaskError {
	kind, detail := t.Verdict()
	switch {
	case kind == "":
		return nil
	case t.Deadline() > 0 && t.Finished >= t.Deadline():
		detail += fmt.Sprintf(" (%s)", time.Unix(0, t.Deadline()).UTC().Format(time.RFC3339))
	}
	return &api.TaskError{Kind: kind, Message: detail}
}

// ---- tasks that did not succeed ----

func (n *Node) retryTask(c *call, q *api.RetryTask) {
	n.simple(c, &scheduler.Retry{ID: q.GetId(), Request: q.GetRequest()}, func() { n.showTask(c, q.GetId()) })
}

func (n *Node) dropTask(c *call, q *api.DropTask) {
	n.propose(&scheduler.Discard{ID: q.GetId()}, func(r scheduler.Result, err error) {
		switch {
		case err != nil:
			n.again(c, err)
		case r.Code == scheduler.OK || r.Code == scheduler.NotFound: // a repeat finds nothing
			c.task(&api.Task{Id: q.GetId()})
		default:
			c.refused(r)
		}
	})
}

// listLook is how many finished tasks are looked at for one answer, so that the state
// is not held for long; the client goes on from there.
const listLook = 5000

func (n *Node) listTasks(c *call, q *api.ListTasks) {
	limit := int(q.Limit)
	if limit == 0 {
		limit = 100
	}
	if limit > MaxListed {
		c.fail(api.Code_LIMIT, "a list has at most %d tasks", MaxListed)
		return
	}
	l := lister{q: q, limit: limit, list: &api.TaskList{}}
	var err error
	n.fsm.View(func(s *scheduler.State) { err = l.run(s) })
	if err != nil {
		c.fail(api.Code_INVALID, "%v", err)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Tasks{Tasks: l.list}})
}

// lister makes one list of tasks.
type lister struct {
	q     *api.ListTasks
	limit int
	list  *api.TaskList
	size  int
}

// run adds live tasks, if the list begins with them, and then finished ones.
func (l *lister) run(s *scheduler.State) (err error) {
	state := l.q.State
	if l.q.From == "" && (state == "" || state == scheduler.Queued.String() || state == scheduler.Running.String()) {
		for _, t := range s.Live(l.q.Namespace, l.q.Job, scheduler.MaxLive) {
			if l.full() {
				break
			}
			l.add(t)
		}
	}
	if state == scheduler.Queued.String() || state == scheduler.Running.String() {
		return nil
	}
	look := listLook
	if l.full() {
		look = 0
	}
	l.list.Next, err = s.FinishedFrom(l.q.From, look, func(t *scheduler.Task) bool {
		l.add(t)
		return !l.full()
	})
	return err
}

func (l *lister) full() bool { return len(l.list.Tasks) >= l.limit || l.size >= MaxReplyBytes }

func (l *lister) add(t *scheduler.Task) {
	q := l.q
	if q.State != "" && q.State != t.State.String() || q.Namespace != "" && q.Namespace != t.Namespace || q.Job != "" && q.Job != t.Job {
		return
	}
	v := taskView(t)
	if q.Brief {
		v.Value, v.Results, v.Stdout, v.Stderr = nil, nil, nil, nil
	} else {
		l.size += len(t.Outcome)
	}
	l.list.Tasks = append(l.list.Tasks, v)
}
