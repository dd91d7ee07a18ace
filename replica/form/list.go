package form

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"farm/api"
	"farm/scheduler"
)

// Limits of a list of tasks.
const (
	MaxListed     = 1000    // tasks in one answer
	defaultListed = 100     // when the request names no limit
	maxListBytes  = 4 << 20 // of their outcomes, about
	livePlace     = "live." // begins the place where a list of live tasks goes on
	listLook      = 5000    // finished tasks looked at for one answer, so that the state is not held for long
)

// Tasks lists the tasks that a request means, those not finished by submission, then
// finished ones, the newest first. The errors are for who asked.
func Tasks(s *scheduler.State, q *api.ListTasks) (*api.TaskList, error) {
	l := lister{q: q, limit: int(q.Limit), list: &api.TaskList{}}
	if l.limit == 0 {
		l.limit = defaultListed
	}
	if l.limit > MaxListed {
		return nil, fmt.Errorf("a list has at most %d tasks", MaxListed)
	}
	if err := l.run(s); err != nil {
		return nil, err
	}
	return l.list, nil
}

// lister makes one list of tasks.
type lister struct {
	q     *api.ListTasks
	limit int
	list  *api.TaskList
	size  int
}

// run adds live tasks, unless the list goes on behind them, and then finished ones.
func (l *lister) run(s *scheduler.State) (err error) {
	queued, running := scheduler.Queued.String(), scheduler.Running.String()
	liveOnly := l.q.State == queued || l.q.State == running
	from := l.q.From
	if rest, live := strings.CutPrefix(from, livePlace); live || from == "" {
		if from = ""; liveOnly || l.q.State == "" {
			if done, err := l.addLive(s, rest); err != nil || !done {
				return err
			}
		}
	}
	if liveOnly {
		return nil
	}
	look := listLook
	if l.full() {
		look = 0
	}
	l.list.Next, err = s.FinishedFrom(from, look, func(t *scheduler.Task) bool {
		if l.fits(t) {
			l.add(t)
		}
		return !l.full()
	})
	return err
}

// errPlace is returned for a place where no list goes on.
var errPlace = errors.New("the list cannot go on there")

// addLive adds live tasks from a place on, and tells whether these are all.
func (l *lister) addLive(s *scheduler.State, place string) (all bool, err error) {
	var behind uint64
	if place != "" {
		if behind, err = strconv.ParseUint(place, 10, 64); err != nil {
			return false, errPlace
		}
	}
	list := s.LiveFrom(behind, l.limit+1, l.fits)
	for _, t := range list {
		if l.full() {
			return false, nil
		}
		l.add(t)
		l.list.Next = livePlace + strconv.FormatUint(t.Order, 10)
	}
	if len(list) > l.limit {
		return false, nil
	}
	l.list.Next = ""
	return true, nil
}

func (l *lister) full() bool { return len(l.list.Tasks) >= l.limit || l.size >= maxListBytes }

// fits tells whether a task is meant.
func (l *lister) fits(t *scheduler.Task) bool {
	q := l.q
	switch {
	case q.State != "" && q.State != t.State.String(), q.Namespace != "" && q.Namespace != t.Namespace, q.Job != "" && q.Job != t.Job,
		q.Queue != "" && q.Queue != queueOf(t):
		return false
	case q.Key == "" && len(q.Needs) == 0:
		return true
	case t.Options == nil || q.Key != "" && q.Key != t.Options.Key:
		return false
	}
	for _, n := range q.Needs {
		if !slices.Contains(t.Options.Needs, n) {
			return false
		}
	}
	return true
}

func (l *lister) add(t *scheduler.Task) {
	v := Task(t)
	if l.q.Brief {
		v.Value, v.Results, v.Stdout, v.Stderr = nil, nil, nil, nil
	} else {
		l.size += len(t.Outcome)
	}
	l.list.Tasks = append(l.list.Tasks, v)
}
