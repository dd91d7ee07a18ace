package form

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/scheduler"
)

// Jobs gathers the newest jobs that are in a state. Use NewJobs.
type Jobs struct {
	state string
	limit int
	jobs  []*api.Job
	at    map[string]int // where a job is in jobs
}

// NewJobs gathers up to limit jobs in a state; of any when that is empty.
func NewJobs(state string, limit int) *Jobs {
	return &Jobs{state: state, limit: limit, at: map[string]int{}}
}

// slack is how many jobs more than it may return a Jobs holds.
const slack = 1_000

// Add takes jobs in. One that is there already is in its newer state now: it
// finished between two portions.
func (l *Jobs) Add(jobs []*scheduler.Job) {
	for _, j := range jobs {
		v := Job(j)
		if i, there := l.at[v.Id]; there {
			l.jobs[i] = v
			continue
		}
		l.at[v.Id] = len(l.jobs)
		l.jobs = append(l.jobs, v)
	}
	if len(l.jobs) > 4*l.limit+slack {
		l.shrink()
	}
}

// shrink keeps what can still be among the newest.
func (l *Jobs) shrink() {
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

// Newest are at most limit of them, the newest first.
func (l *Jobs) Newest() []*api.Job {
	l.shrink()
	return l.jobs
}

// Work is what a task is to do.
func Work(t *scheduler.Task) (*api.Work, error) {
	work := &api.Work{}
	if err := proto.Unmarshal(t.Body, work); err != nil {
		return nil, fmt.Errorf("task %s: its body cannot be read: %w", t.ID, err)
	}
	return work, nil
}

// failures are the inputs of a finished task that have no result; one without
// inputs is a failure as a whole. One that succeeded, and is only to be folded yet,
// has none.
func failures(t *scheduler.Task) []*api.Failure {
	if t.State == scheduler.Succeeded {
		return nil
	}
	v := Task(t)
	work, err := Work(t)
	if err != nil || t.FoldOf != "" || len(work.Inputs) == 0 {
		return []*api.Failure{{Task: t.ID, Error: v.Error, Fold: t.FoldOf != "", Position: work.GetFirst(), Input: work.GetInput()}}
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
	work, err := Work(t)
	if err != nil {
		return nil, err
	}
	if len(work.Inputs) <= 1 {
		return []scheduler.Replacement{{ID: fmt.Sprintf("%s/r%d", base, round), Body: t.Body}}, nil
	}
	var out []scheduler.Replacement
	first, inputs := work.First, work.Inputs
	for _, i := range missing(Task(t).Results, len(inputs)) {
		work.First, work.Inputs = first+uint64(i), inputs[i:i+1]
		body, err := proto.Marshal(work)
		if err != nil {
			return nil, err
		}
		out = append(out, scheduler.Replacement{ID: fmt.Sprintf("%s/%d/r%d", base, i, round), Body: body})
	}
	return out, nil
}

const (
	// failedAtOnce is how many failed tasks of a job are looked at at a time.
	failedAtOnce = 64
	// replaceBytes bounds the tasks that one command puts in the place of another,
	// unless a single one is larger.
	replaceBytes = 256 << 10
)

// Replace are the commands that put tasks, which try its inputs again, in the place of
// a failed one.
func Replace(q *api.RetryJob, t *scheduler.Task) (out []*scheduler.Replace, err error) {
	items, err := replacements(t, q.Round)
	if err != nil {
		return nil, err
	}
	for {
		cmd := &scheduler.Replace{Job: q.Id, Round: q.Round, Task: t.ID}
		size := 0
		for len(items) > 0 && len(cmd.Items) < scheduler.MaxReplacements && (size == 0 || size+len(items[0].Body) <= replaceBytes) {
			size += len(items[0].Body)
			cmd.Items, items = append(cmd.Items, items[0]), items[1:]
		}
		cmd.Last = len(items) == 0
		if out = append(out, cmd); cmd.Last {
			return out, nil
		}
	}
}

// ToReplace is the next failed tasks of a round of a retry; over says that there are
// no others, known whether there is the job. Tasks that are no longer kept cannot be
// tried again.
func ToReplace(s *scheduler.State, q *api.RetryJob) (list []*scheduler.Task, over, known bool) {
	j := s.Job(q.Id)
	switch {
	case j == nil:
		return nil, true, false
	case q.Round < j.Round: // it was asked for long ago
		return nil, true, true
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
	return list, over, true
}

// Failures lists what failed of a job, input by input, up to about so many bytes;
// nil when there is no such job.
func Failures(s *scheduler.State, q *api.ListFailures, bytes int) *api.FailureList {
	if s.Job(q.Job) == nil {
		return nil
	}
	list := &api.FailureList{}
	size := 0
	for i, u := range s.Unfinished(q.Job, q.From, failedAtOnce+1) {
		if i == failedAtOnce || size > bytes {
			list.Next = u.Order
			return list
		}
		t := s.UnfinishedTask(u)
		if t == nil {
			list.Lost++
			continue
		}
		for _, f := range failures(t) {
			size += len(f.Input) + len(f.Error.GetMessage()) + len(f.Task)
			list.Failures = append(list.Failures, f)
		}
	}
	return list
}
