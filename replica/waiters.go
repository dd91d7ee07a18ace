package replica

import (
	"strings"
	"sync"
	"time"

	"farm/scheduler"
)

// waiters remembers who waits for the end of which task or job. It is told of
// ends by the apply path of this node, whether it leads or not: an end seen
// anywhere is an end everywhere.
type waiters struct {
	mu sync.Mutex
	by map[string][]*waiter
	n  int
}

type waiter struct {
	key    string
	stream *stream
	then   func(ending)
	timer  *time.Timer // of limit, or nil
	gone   bool
}

// ending is what ended: a task or a job, which is final and may be kept.
type ending struct {
	task *scheduler.Task
	job  *scheduler.Job
}

func (e ending) final() bool {
	return e.task != nil && e.task.State.Final() || e.job != nil && e.job.Finished != 0
}

// jobKey is the key of a job's end; a task id cannot begin with '/'.
func jobKey(id string) string { return "/" + id }

// add registers then, to be called once when key ends, on the apply path under
// the state's lock: it must not block, nor look at the state.
func (ws *waiters) add(key string, s *stream, then func(ending)) *waiter {
	w := &waiter{key: key, stream: s, then: then}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.by == nil {
		ws.by = map[string][]*waiter{}
	}
	ws.by[key] = append(ws.by[key], w)
	ws.n++
	return w
}

// limit withdraws w after d, if it is still there, and then calls late.
func (ws *waiters) limit(w *waiter, d time.Duration, late func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if !w.gone {
		w.timer = time.AfterFunc(d, func() {
			if ws.drop(w) {
				late()
			}
		})
	}
}

// leave marks a waiter as called or withdrawn. The caller holds mu.
func (ws *waiters) leave(w *waiter) {
	w.gone = true
	ws.n--
	if w.timer != nil {
		w.timer.Stop()
	}
}

// drop withdraws a waiter and tells whether it had not been called.
func (ws *waiters) drop(w *waiter) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if w.gone {
		return false
	}
	ws.leave(w)
	list := ws.by[w.key]
	for i, x := range list {
		if x == w {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(ws.by, w.key)
	} else {
		ws.by[w.key] = list
	}
	return true
}

// ended calls those who wait for key.
func (ws *waiters) ended(key string, e ending) {
	ws.mu.Lock()
	list := ws.by[key]
	delete(ws.by, key)
	for _, w := range list {
		ws.leave(w)
	}
	ws.mu.Unlock()
	for _, w := range list {
		w.then(e)
	}
}

// hangUp forgets what a stream that has ended waited for.
func (ws *waiters) hangUp(s *stream) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for key, list := range ws.by {
		kept := list[:0]
		for _, w := range list {
			if w.stream == s {
				ws.leave(w)
				continue
			}
			kept = append(kept, w)
		}
		if len(kept) == 0 {
			delete(ws.by, key)
		} else {
			ws.by[key] = kept
		}
	}
}

// keys lists what is waited for.
func (ws *waiters) keys() []string {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	out := make([]string, 0, len(ws.by))
	for key := range ws.by {
		out = append(out, key)
	}
	return out
}

// sweep calls those whose task or job ended unseen: a snapshot that another
// node sends skips the entries in which things end.
func (ws *waiters) sweep(view func(func(*scheduler.State))) {
	for _, key := range ws.keys() {
		var e ending
		view(func(s *scheduler.State) {
			if id, isJob := strings.CutPrefix(key, jobKey("")); isJob {
				e.job = s.Job(id)
				return
			}
			e.task = s.Task(key)
		})
		if e.final() {
			ws.ended(key, e)
		}
	}
}
