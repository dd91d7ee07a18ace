package scheduler

// heapItem is what a heap holds: it orders itself, totally, and remembers
// where it is so that it can be removed.
type heapItem[T any] interface {
	before(T) bool
	moved(int) // to this position, -1 when out of the heap
	at() int
}

// heap is a binary heap, the first item first.
type heap[T heapItem[T]] struct{ items []T }

func (h *heap[T]) len() int { return len(h.items) }

func (h *heap[T]) min() T { return h.items[0] }

func (h *heap[T]) push(x T) {
	h.items = append(h.items, x)
	h.up(len(h.items) - 1)
}

// remove takes x out, wherever it is; nothing happens when it is not in.
func (h *heap[T]) remove(x T) {
	i := x.at()
	if i < 0 {
		return
	}
	last := len(h.items) - 1
	h.items[i] = h.items[last]
	var zero T
	h.items[last] = zero
	h.items = h.items[:last]
	x.moved(-1)
	if i < last {
		h.items[i].moved(i)
		h.down(i)
		h.up(i)
	}
}

func (h *heap[T]) up(i int) {
	for i > 0 && h.items[i].before(h.items[(i-1)/2]) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	h.items[i].moved(i)
}

func (h *heap[T]) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(h.items) {
			break
		}
		if c+1 < len(h.items) && h.items[c+1].before(h.items[c]) {
			c++
		}
		if !h.items[c].before(h.items[i]) {
			break
		}
		h.swap(i, c)
		i = c
	}
	h.items[i].moved(i)
}

func (h *heap[T]) swap(i, j int) {
	h.items[i], h.items[j] = h.items[j], h.items[i]
	h.items[i].moved(i)
	h.items[j].moved(j)
}

// unit is what is placed: a private task, or a namespace with the task at its
// head.
type unit struct {
	task  *Task
	space *Namespace
}

func (u unit) head() *Task {
	if u.space != nil {
		return u.space.tasks[0]
	}
	return u.task
}

// before: the higher priority, then the earlier submission.
func (u unit) before(v unit) bool {
	a, b := u.head(), v.head()
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.Order < b.Order
}

func (u unit) moved(i int) {
	if u.space != nil {
		u.space.ready = i
	} else {
		u.task.inQueue = i
	}
}

func (u unit) at() int {
	if u.space != nil {
		return u.space.ready
	}
	return u.task.inQueue
}

// A delayed task is ordered by its time, then its submission.
func (t *Task) before(o *Task) bool {
	if t.NotBefore != o.NotBefore {
		return t.NotBefore < o.NotBefore
	}
	return t.Order < o.Order
}

func (t *Task) moved(i int) {
	if l := t.line; l != nil && i < 0 {
		l.lane.queue.delayed--
	} else if l != nil && t.inQueue < 0 {
		l.lane.queue.delayed++
	}
	t.inQueue = i
}
func (t *Task) at() int { return t.inQueue }
