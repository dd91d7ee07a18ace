package replica

import (
	"testing"

	"farm/api"
	"farm/scheduler"
)

// TestLateOutput: what a worker says of a task after its end is told to whoever still
// watches, and nothing of it is kept, in whatever order it comes.
func TestLateOutput(t *testing.T) {
	live := map[string]bool{}
	h := newHub(func(id string) bool { return live[id] })
	say := func(id string) { h.output(&api.Output{Task: id, Attempt: 1, Data: []byte("x")}) }
	far := func(id string) { h.progress(&api.Progress{Task: id, Attempt: 1, Done: 1}) }
	end := func(id string) {
		delete(live, id)
		h.ended(&scheduler.Task{ID: id})
	}
	watch := func(id string) *watcher {
		w, err := h.watch(id)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	kept := func(when string, want int) {
		t.Helper()
		if len(h.live) != want {
			t.Errorf("%s: %d tasks are kept, want %d", when, len(h.live), want)
		}
	}
	say("gone")
	far("gone")
	kept("never known", 0)

	live["a"] = true
	say("a")
	far("a")
	kept("live", 1)
	if h.lastProgress("a").GetDone() != 1 {
		t.Error("its progress is not known")
	}
	end("a")
	say("a")
	far("a")
	kept("late", 0)

	live["b"] = true
	w := watch("b")
	end("b")
	say("b")
	kept("late and watched", 1)
	if len(w.events) != 1 {
		t.Errorf("%d events", len(w.events))
	}
	h.leave("b", w)
	kept("left", 0)

	w = watch("c") // which has ended long ago
	say("c")
	far("c")
	h.leave("c", w)
	kept("watched after its end", 0)

	live["d"] = true
	w = watch("d")
	far("d")
	h.leave("d", w)
	kept("live, with progress", 1)
	end("d")
	kept("ended", 0)
}
