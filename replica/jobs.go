package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/replica/consensus"
	"farm/replica/form"
	"farm/scheduler"
)

const (
	// jobsAtOnce is how many finished jobs are looked at before the state is let go.
	jobsAtOnce = 1_000
	// failedAtOnce is how many failed tasks of a job are looked at at a time.
	failedAtOnce = 64
	// replaceBytes bounds the tasks that one command puts in the place of another,
	// unless a single one is larger.
	replaceBytes = 256 << 10
)

// listJobs lists the newest jobs that the state has. It looks at all of them, in
// portions, so it is not to be called on the way of other calls.
func (n *Node) listJobs(c *call, q *api.ListJobs) {
	limit := int(q.Limit)
	if limit == 0 {
		limit = 100
	}
	if limit > MaxListed {
		c.fail(api.Code_LIMIT, "a list has at most %d jobs", MaxListed)
		return
	}
	l := jobList{state: q.State, limit: limit, at: map[string]int{}}
	n.fsm.View(func(s *scheduler.State) { l.add(s.OpenJobs()) })
	from := ""
	for more := true; more && n.ctx.Err() == nil; {
		n.fsm.View(func(s *scheduler.State) {
			jobs := s.Jobs(from, jobsAtOnce)
			l.add(jobs)
			if more = len(jobs) == jobsAtOnce; more {
				from = jobs[len(jobs)-1].ID + "\x00"
			}
		})
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Jobs{Jobs: &api.JobList{Jobs: l.newest()}}})
}

// jobList gathers the newest jobs that are in a state.
type jobList struct {
	state string
	limit int
	jobs  []*api.Job
	at    map[string]int // where a job is in jobs
}

// add takes jobs in. One that is there already is in its newer state now: it
// finished between two portions.
func (l *jobList) add(jobs []*scheduler.Job) {
	for _, j := range jobs {
		v := form.Job(j)
		if i, there := l.at[v.Id]; there {
			l.jobs[i] = v
			continue
		}
		l.at[v.Id] = len(l.jobs)
		l.jobs = append(l.jobs, v)
	}
	if len(l.jobs) > 4*l.limit+jobsAtOnce {
		l.shrink()
	}
}

// shrink keeps what can still be among the newest.
func (l *jobList) shrink() {
	l.jobs = slices.DeleteFunc(l.jobs, func(j *api.Job) bool { return l.state != "" && l.state != j.State })
	slices.SortFunc(l.jobs, func(a, b *api.Job) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(a.Id, b.Id))
	})
	l.jobs = l.jobs[:min(l.limit, len(l.jobs))]
	clear(l.at)
	for i, j := range l.jobs {
		l.at[j.Id] = i
	}
}

func (l *jobList) newest() []*api.Job {
	l.shrink()
	return l.jobs
}

// getTask answers with a task, and with what it was to do if that is asked for.
func (n *Node) getTask(c *call, q *api.GetTask) {
	if !q.Inputs {
		n.showTask(c, q.Id)
		return
	}
	t := n.task(q.Id)
	if t == nil {
		c.fail(api.Code_NOT_FOUND, "there is no task %s", q.Id)
		return
	}
	v := form.Task(t)
	if work, err := workOf(t); err == nil && t.Kind == scheduler.Run {
		v.Inputs, v.First = work.Inputs, work.First
	}
	c.task(v)
}

// task returns a copy of a task: a live one changes.
func (n *Node) task(id string) (t *scheduler.Task) {
	n.fsm.View(func(s *scheduler.State) {
		if x := s.Task(id); x != nil {
			copied := *x
			t = &copied
		}
	})
	return t
}

func workOf(t *scheduler.Task) (*api.Work, error) {
	work := &api.Work{}
	if err := proto.Unmarshal(t.Body, work); err != nil {
		return nil, fmt.Errorf("task %s: its body cannot be read: %w", t.ID, err)
	}
	return work, nil
}

// listFailures lists what failed of a job, input by input.
func (n *Node) listFailures(c *call, q *api.ListFailures) {
	list := &api.FailureList{}
	known := false
	n.fsm.View(func(s *scheduler.State) {
		known = s.Job(q.Job) != nil
		size := 0
		for i, u := range s.Unfinished(q.Job, q.From, failedAtOnce+1) {
			if i == failedAtOnce || size > MaxReplyBytes/2 {
				list.Next = u.Order
				return
			}
			t := s.UnfinishedTask(u)
			if t == nil {
				list.Lost++
				continue
			}
			for _, f := range failuresOf(t) {
				size += len(f.Input) + len(f.Error.GetMessage()) + len(f.Task)
				list.Failures = append(list.Failures, f)
			}
		}
	})
	if !known {
		c.fail(api.Code_NOT_FOUND, "there is no job %s", q.Job)
		return
	}
	c.reply(&api.Reply{Seq: c.Seq, Result: &api.Reply_Failures{Failures: list}})
}

// failuresOf is the inputs of a finished task that have no result; one without
// inputs is a failure as a whole. One that succeeded, and is only to be folded yet,
// has none.
func failuresOf(t *scheduler.Task) []*api.Failure {
	if t.State == scheduler.Succeeded {
		return nil
	}
	v := form.Task(t)
	work, err := workOf(t)
	if err != nil || t.FoldOf != "" || len(work.Inputs) == 0 {
		return []*api.Failure{{Task: t.ID, Error: v.Error, Fold: t.FoldOf != "", Position: work.GetFirst()}}
	}
	why := map[int]*api.TaskError{}
	for _, f := range v.Failed {
		why[int(f.Index)] = f.Error
	}
	var out []*api.Failure
	for _, i := range missing(v.Results, len(work.Inputs)) {
		f := &api.Failure{Task: t.ID, Position: work.First + uint64(i), Input: work.Inputs[i], Error: v.Error}
		if e := why[i]; e != nil {
			f.Error = e
		}
		out = append(out, f)
	}
	return out
}

// missing is the positions, of n, that have no result.
func missing(results [][]byte, n int) (out []int) {
	for i := range n {
		if i >= len(results) || len(results[i]) == 0 {
			out = append(out, i)
		}
	}
	return out
}

// retryJob replaces what failed of a job, a task at a time, and answers with the
// job. This node leads, or did a moment ago; when it ceases to, the call is begun
// again by the next leader and goes on with what is left.
func (n *Node) retryJob(c *call, q *api.RetryJob) {
	for {
		list, over, err := n.toReplace(q)
		if err != nil {
			c.fail(api.Code_NOT_FOUND, "%v", err)
			return
		}
		for _, t := range list {
			if err := n.replaceTask(q, t); err != nil {
				n.retryEnded(c, err)
				return
			}
		}
		if over {
			n.showJob(c, q.Id)
			return
		}
	}
}

// retryEnded answers a retry that came to a command that failed.
func (n *Node) retryEnded(c *call, err error) {
	var refused *refusedError
	if errors.As(err, &refused) {
		c.refused(refused.Result)
		return
	}
	n.again(c, err)
}

// toReplace is the next failed tasks of a round of a retry; over says that there are
// no others. Tasks that are no longer kept cannot be tried again.
func (n *Node) toReplace(q *api.RetryJob) (list []*scheduler.Task, over bool, err error) {
	n.fsm.View(func(s *scheduler.State) {
		j := s.Job(q.Id)
		switch {
		case j == nil:
			err = fmt.Errorf("there is no job %s", q.Id)
			return
		case q.Round < j.Round: // it was asked for long ago
			over = true
			return
		}
		from := uint64(0)
		for len(list) == 0 && !over {
			page := s.Unfinished(q.Id, from, failedAtOnce)
			over = len(page) < failedAtOnce
			for _, u := range page {
				from = u.Order + 1
				if q.Round == j.Round && u.Order > j.Mark {
					over = true // what failed since is for another round
					break
				}
				if t := s.UnfinishedTask(u); t != nil {
					list = append(list, t)
				}
			}
		}
	})
	// What is in the list is gone from the state's when the list was worked off.
	return list, over, err
}

// refusedError is a command that was refused.
type refusedError struct{ scheduler.Result }

// Error is the refusal's detail.
func (e *refusedError) Error() string { return e.Detail }

// replaceTask puts the tasks that try the inputs of a failed one again into the
// log, in as many commands as they need.
func (n *Node) replaceTask(q *api.RetryJob, t *scheduler.Task) error {
	items, err := replacements(t, q.Round)
	if err != nil {
		return err
	}
	for {
		cmd := &scheduler.Replace{Job: q.Id, Round: q.Round, Task: t.ID}
		size := 0
		for len(items) > 0 && len(cmd.Items) < scheduler.MaxReplacements && (size == 0 || size+len(items[0].Body) <= replaceBytes) {
			size += len(items[0].Body)
			cmd.Items, items = append(cmd.Items, items[0]), items[1:]
		}
		cmd.Last = len(items) == 0
		if err := n.replaceNow(cmd); err != nil || cmd.Last {
			return err
		}
	}
}

// replaceNow proposes a Replace and waits for its result.
func (n *Node) replaceNow(cmd *scheduler.Replace) error {
	type answer struct {
		r   scheduler.Result
		err error
	}
	got := make(chan answer, 1)
	n.propose(cmd, func(r scheduler.Result, err error) { got <- answer{r, err} })
	select {
	case a := <-got:
		if a.err != nil || a.r.Code == scheduler.OK || a.r.Code == scheduler.Duplicate {
			return a.err
		}
		return &refusedError{a.r}
	case <-n.ctx.Done():
		return consensus.ErrNotLeader
	}
}

// beforeRound is the id of a task without what says in which round it was made.
func beforeRound(id string) string {
	if i := strings.LastIndex(id, "/r"); i > 0 && strings.Trim(id[i+2:], "0123456789") == "" {
		return id[:i]
	}
	return id
}

// replacements are the tasks that try a failed one again: one for each of its
// inputs without a result. Their ids say of which input, and in which round.
func replacements(t *scheduler.Task, round uint64) ([]scheduler.Replacement, error) {
	if t.State == scheduler.Succeeded {
		return nil, nil // only its fold is owed
	}
	base := beforeRound(t.ID)
	if t.FoldOf != "" {
		return []scheduler.Replacement{{ID: fmt.Sprintf("%s/r%d", base, round)}}, nil
	}
	work, err := workOf(t)
	if err != nil {
		return nil, err
	}
	if len(work.Inputs) <= 1 {
		return []scheduler.Replacement{{ID: fmt.Sprintf("%s/r%d", base, round), Body: t.Body}}, nil
	}
	var out []scheduler.Replacement
	first, inputs := work.First, work.Inputs
	for _, i := range missing(form.Task(t).Results, len(inputs)) {
		work.First, work.Inputs = first+uint64(i), inputs[i:i+1]
		body, err := proto.Marshal(work)
		if err != nil {
			return nil, err
		}
		out = append(out, scheduler.Replacement{ID: fmt.Sprintf("%s/%d/r%d", base, i, round), Body: body})
	}
	return out, nil
}
