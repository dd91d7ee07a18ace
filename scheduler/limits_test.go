package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func submitted(t *testing.T, s *State, c Submit, want Code, text string) {
	t.Helper()
	if c.Kind == 0 {
		c.Kind = Run
	}
	if r := s.Step(&c); r.Code != want || !strings.Contains(r.Detail, text) {
		t.Errorf("submit of %.60s: %v %q, want %v %q", c.ID, r.Code, r.Detail, want, text)
	}
}

// TestSubmitLimits: what a client may not send is refused and leaves no trace.
func TestSubmitLimits(t *testing.T) {
	s := mustLoad(plainRecords{})
	long := strings.Repeat("x", MaxIDBytes)
	for _, id := range []string{"", "a/b", "-a", ".a", "a b", "ä", long + "x"} {
		submitted(t, s, Submit{ID: id}, Invalid, "not a name")
		if id != "" {
			submitted(t, s, Submit{ID: "a", Namespace: id}, Invalid, "not a name")
		}
	}
	submitted(t, s, Submit{ID: "a", Kind: PatchParts + 1}, Invalid, "out of range")
	submitted(t, s, Submit{ID: "a", Timeout: -1}, Invalid, "out of range")
	submitted(t, s, Submit{ID: "a", Delay: -1}, Invalid, "out of range")
	submitted(t, s, Submit{ID: "a", Delay: 367 * 24 * 3600 * second}, Invalid, "out of range")
	submitted(t, s, Submit{ID: "a", Retries: MaxRetries + 1}, Invalid, "out of range")
	submitted(t, s, Submit{ID: "a", Kind: Patch}, Invalid, "needs a namespace")
	submitted(t, s, Submit{ID: "a", Body: make([]byte, MaxBodyBytes+1)}, Limit, fmt.Sprint(MaxBodyBytes))
	if len(s.tasks) != 0 || len(s.namespaces) != 0 || s.Order != 0 {
		t.Error("a refused task left something")
	}
	submitted(t, s, Submit{ID: long, Namespace: long, Body: make([]byte, MaxBodyBytes), Retries: MaxRetries}, OK, "")
}

// TestFullState: each queue has an end, and one that is full refuses more by
// name while everything else goes on.
func TestFullState(t *testing.T) {
	s := mustLoad(plainRecords{})
	for i := range MaxNamespaceQueue {
		s.Step(&Submit{ID: fmt.Sprint("t", i), Namespace: "n", Kind: Run})
	}
	submitted(t, s, Submit{ID: "more", Namespace: "n"}, Limit, fmt.Sprintf("%d tasks wait in namespace n", MaxNamespaceQueue))
	submitted(t, s, Submit{ID: "more", Namespace: "m"}, OK, "")
	for i := len(s.namespaces); i < MaxNamespaces; i++ {
		s.namespaces[fmt.Sprint("x", i)] = &Namespace{ready: -1}
	}
	submitted(t, s, Submit{ID: "another", Namespace: "new"}, Limit, fmt.Sprintf("%d namespaces", MaxNamespaces))
	submitted(t, s, Submit{ID: "another", Namespace: "m"}, OK, "")
	for i := len(s.tasks); i < MaxLive; i++ {
		s.tasks[fmt.Sprint("x", i)] = nil
	}
	submitted(t, s, Submit{ID: "last"}, Limit, fmt.Sprintf("%d tasks", MaxLive))
	submitted(t, s, Submit{ID: "t0"}, Duplicate, "")
}

// TestWorkerAndJobLimits: the same for workers and jobs.
func TestWorkerAndJobLimits(t *testing.T) {
	s := mustLoad(plainRecords{})
	code := func(c Command, want Code) {
		t.Helper()
		if r := s.Step(c); r.Code != want {
			t.Errorf("%T: %v %q, want %v", c, r.Code, r.Detail, want)
		}
	}
	code(&WorkerUp{Worker: "a/b", Incarnation: 1, Slots: 1}, Invalid)
	code(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 0}, Invalid)
	code(&WorkerUp{Worker: "w", Incarnation: 1, Slots: MaxSlots + 1}, Invalid)
	for i := range MaxWorkers {
		code(&WorkerUp{Worker: fmt.Sprint("w", i), Incarnation: 1, Slots: MaxSlots}, OK)
	}
	code(&WorkerUp{Worker: "more", Incarnation: 1, Slots: 1}, Limit)
	code(&WorkerUp{Worker: "w0", Incarnation: 2, Slots: 1}, OK)
	code(&OpenJob{ID: "a/b"}, Invalid)
	code(&OpenJob{ID: "j", Fold: "a/b"}, Invalid)
	code(&OpenJob{ID: "j", Body: make([]byte, MaxBodyBytes+1)}, Limit)
	for i := range MaxJobs {
		code(&OpenJob{ID: fmt.Sprint("j", i)}, OK)
	}
	code(&OpenJob{ID: "more"}, Limit)
	code(&SealJob{ID: "j0"}, OK)
	code(&OpenJob{ID: "more"}, OK)
}

// TestChangeLimits: a change over a limit fails its task and is not applied, in
// part or whole.
func TestChangeLimits(t *testing.T) {
	s := mustLoad(plainRecords{})
	n := 0
	patch := func(c Change, want TaskState) {
		t.Helper()
		n++
		id := fmt.Sprint("p", n)
		before := uint64(0)
		if x := s.Namespace("n"); x != nil {
			before = x.Version
		}
		s.Step(&Submit{ID: id, Namespace: "n", Kind: Patch, Body: c.Encode()})
		if x := s.Task(id); x.State != want {
			t.Errorf("patch %d: %s %q, want %s", n, x.State, x.Causes, want)
		}
		if x := s.Namespace("n"); want == Failed && x != nil && x.Version != before {
			t.Errorf("patch %d failed and changed the namespace", n)
		}
	}
	put := func(k string, size int) Change { return Change{Put: []Item{{Key: k, Value: make([]byte, size)}}} }
	complete := func(c Change, want TaskState) {
		t.Helper()
		n++
		id := fmt.Sprint("p", n)
		s.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 1})
		s.Step(&Submit{ID: id, Namespace: "n", Kind: Run})
		x, version := s.Task(id), s.Namespace("n").Version
		s.Step(&Complete{Task: id, Attempt: 1, Worker: "w", Incarnation: 1, Epoch: x.Epoch, Base: version, Status: Success, Change: c})
		if x := s.Task(id); x.State != want {
			t.Errorf("task %d: %s %q, want %s", n, x.State, x.Causes, want)
		}
	}
	complete(put("k", MaxChangeBytes-1), Succeeded)
	complete(put("k", MaxChangeBytes), Failed)
	patch(put(strings.Repeat("k", MaxItemKey), 0), Succeeded)
	patch(put(strings.Repeat("k", MaxItemKey+1), 0), Failed)
	patch(put("", 0), Failed)
	patch(Change{Delete: []string{"b", "a"}}, Failed)
	patch(Change{Delete: []string{"a", "a"}}, Failed)
	s.Namespace("n").Items = MaxItems
	patch(put("new", 0), Failed)
	patch(put("k", 1), Succeeded) // it is there already
	patch(Change{Delete: []string{"k"}}, Succeeded)
	patch(put("new", 0), Succeeded)
	s.Namespace("n").Bytes = MaxNamespaceBytes
	patch(put("newer", 0), Failed)
	s.Step(&Submit{ID: "bad", Namespace: "n", Kind: Patch, Body: []byte("\xff")})
	if x := s.Task("bad"); x.State != Failed {
		t.Errorf("a patch that is none: %s", x.State)
	}
}

// TestUndoLimit: a change whose former values are too many is still made; what
// was before it is listed and cannot be restored, what came after it can.
func TestUndoLimit(t *testing.T) {
	s := mustLoad(plainRecords{})
	tasks := 0
	run := func(kind Kind, body []byte) *Task {
		tasks++
		id := fmt.Sprint("t", tasks)
		s.Step(&Submit{ID: id, Namespace: "n", Kind: kind, Body: body})
		return s.Task(id)
	}
	patch := func(c Change) {
		t.Helper()
		if x := run(Patch, c.Encode()); x.State != Succeeded {
			t.Fatal(x.Causes)
		}
	}
	put := func(k string, size int) Change { return Change{Put: []Item{{Key: k, Value: make([]byte, size)}}} }
	restorable := func(want ...bool) {
		t.Helper()
		var is []bool
		for _, v := range s.History("n") {
			is = append(is, v.Restorable)
		}
		if !slices.Equal(is, want) {
			t.Errorf("restorable: %v, want %v", is, want)
		}
	}
	half := MaxUndoBytes / 2
	patch(put("a", half-1))
	patch(put("b", half-1))
	patch(Change{Delete: []string{"a", "b"}}) // exactly the limit
	restorable(true, true, true)
	patch(put("a", half-1))
	patch(put("b", half))
	patch(Change{Delete: []string{"a", "b"}}) // one more
	restorable(true, false, false, false, false, false)
	patch(put("c", 1))
	patch(put("c", 2))
	if x := run(Restore, RestoreBody(5)); x.State != Failed || !strings.Contains(x.Causes[0], "version 6 changed more than") || s.Namespace("n").Version != 8 {
		t.Errorf("restored what cannot be: %s %q", x.State, x.Causes)
	}
	if code, _ := s.Task(fmt.Sprint("t", tasks)).Refusal(); code != Limit {
		t.Errorf("refused with %v", code)
	}
	if x := run(Restore, RestoreBody(6)); x.State != Succeeded || s.Namespace("n").Items != 0 {
		t.Errorf("%s %q, %d items", x.State, x.Causes, s.Namespace("n").Items)
	}
	for _, v := range s.History("n") {
		if size := len(s.rec.Get(undoKey("n", v.Number))); size > MaxUndoBytes+1000 {
			t.Errorf("the undo record of version %d has %d bytes", v.Number, size)
		}
	}
}

// TestForkLimit: a namespace that is too large to be copied is not.
func TestForkLimit(t *testing.T) {
	s := mustLoad(plainRecords{})
	s.Step(&Submit{ID: "p", Namespace: "a", Kind: Patch, Body: (&Change{Put: []Item{{Key: "k", Value: []byte("v")}}}).Encode()})
	for size, want := range map[uint64]TaskState{MaxForkBytes: Succeeded, MaxForkBytes + 1: Failed} {
		s.Namespace("a").Bytes = size
		id := fmt.Sprint("f", size)
		s.Step(&Submit{ID: id, Namespace: id, Kind: Fork, Body: ForkBody("a")})
		if x := s.Task(id); x.State != want {
			t.Errorf("fork of %d bytes: %s %q", size, x.State, x.Causes)
		}
	}
	for _, body := range [][]byte{nil, {9}, ForkBody("a/b"), append(ForkBody("a"), 0)} {
		s.Step(&Submit{ID: fmt.Sprintf("x%x", body), Namespace: "x", Kind: Fork, Body: body})
		if code, _ := s.Task(fmt.Sprintf("x%x", body)).Refusal(); code != Invalid {
			t.Errorf("fork of %q: %v", body, code)
		}
	}
}

// TestRetentionByBytes: too many bytes of finished tasks push out the oldest.
func TestRetentionByBytes(t *testing.T) {
	s := mustLoad(plainRecords{})
	end := func(id string) {
		s.Step(&Submit{ID: id, Kind: Run})
		s.Step(&Cancel{ID: id})
	}
	end("a")
	end("b")
	s.FinBytes += MaxFinishedBytes - s.FinBytes
	end("c")
	if s.Task("a") != nil || s.Task("c") == nil {
		t.Error("the oldest is not the one that went")
	}
}

// TestNewerRecords: records of a newer farm are refused by what they are.
func TestNewerRecords(t *testing.T) {
	for _, key := range []string{"m", "w/x", "n/x", "j/x", "q/x", "l/x"} {
		known := byte(recordVersion)
		switch key {
		case "n/x":
			known = partsVersion
		case "w/x":
			known = optionsVersion
		case "q/x":
			known = childVersion
		case "j/x":
			known = bothVersion
		}
		_, err := Load(plainRecords{key: {known + 1}})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) || !strings.Contains(err.Error(), fmt.Sprintf("format %d, this farm knows up to %d", known+1, known)) {
			t.Errorf("record %s: %v", key, err)
		}
		if _, err := Load(plainRecords{key: {recordVersion, 0xff}}); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", key)) {
			t.Errorf("record %s, cut off: %v", key, err)
		}
	}
}

// TestNextDeadline: the leader is told when only time will change the state.
func TestNextDeadline(t *testing.T) {
	s := mustLoad(plainRecords{})
	if s.NextDeadline() != 0 {
		t.Error("a deadline of nothing")
	}
	s.Advance(1000)
	s.Step(&Submit{ID: "a", Kind: Run, Delay: 500})
	s.Step(&Submit{ID: "b", Kind: Run, Delay: 300})
	if s.NextDeadline() != 1300 {
		t.Errorf("deadline %d", s.NextDeadline())
	}
	s.Advance(1300)
	s.Advance(200) // a leader whose clock is behind
	if s.NextDeadline() != 1500 || s.Now() != 1300 {
		t.Errorf("deadline %d at %d", s.NextDeadline(), s.Now())
	}
	s.Step(&Cancel{ID: "a"})
	if s.NextDeadline() != 0 {
		t.Errorf("deadline %d", s.NextDeadline())
	}
}
