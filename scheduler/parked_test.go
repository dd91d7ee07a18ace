package scheduler

import (
	"fmt"
	"slices"
	"testing"
)

// TestParked: what failed and is kept is counted by queue, and no more when it is
// retried, dropped, or forgotten.
func TestParked(t *testing.T) {
	s := mustLoad(plainRecords{})
	s.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 4})
	fail := func(id string, o *Options) {
		t.Helper()
		submitted(t, s, Submit{ID: id, Options: o}, OK, "")
		x := s.Task(id)
		if r := s.Step(&Complete{Task: id, Attempt: x.Attempt, Worker: "w", Incarnation: 1, Status: Permanent, Cause: "no"}); r.Code != OK {
			t.Fatalf("%s: %+v", id, r)
		}
	}
	mail := func(keep int64) *Options { return &Options{Queue: "mail", Timing: Timing{Keep: keep}} }
	fail("early", mail(0))
	if n := s.Queue("mail").Parked; n != -1 {
		t.Errorf("before it is counted: %d", n)
	}
	check := func(want ...int) {
		t.Helper()
		if err := checkParked(s); err != nil {
			t.Error(err)
		}
		got := []int{s.Queue("mail").Parked, s.Queue(DefaultQueue).Parked}
		if !slices.Equal(got, want) {
			t.Errorf("parked are %d, want %d", got, want)
		}
	}
	s.Step(&Found{Cluster: "c", Form: FormCounting})
	check(1, 0)
	fail("a", nil)
	fail("b", mail(0))
	fail("c", mail(5*second))
	check(3, 1)
	if list := s.Queues(); len(list) != 2 || list[1].Name != "mail" || list[1].Parked != 3 {
		t.Errorf("queues %+v", list)
	}
	s.Step(&Retry{ID: "b"})
	s.Step(&Discard{ID: "a"})
	check(2, 0)
	s.Advance(s.Clock + 6*second)
	check(1, 0)
	s.Advance(s.Clock + Retention)
	for i := range 3 {
		submitted(t, s, Submit{ID: fmt.Sprint("x", i)}, OK, "")
		s.Step(&Complete{Task: fmt.Sprint("x", i), Attempt: 1, Worker: "w", Incarnation: 1, Status: Success})
	}
	if s.Task("early") != nil {
		t.Fatal("it is still kept")
	}
	check(0, 0)
}

// TestLiveFrom: pages of live tasks are all of them, in order, whatever their size.
func TestLiveFrom(t *testing.T) {
	s := mustLoad(plainRecords{})
	const n = 100
	for i := range n {
		submitted(t, s, Submit{ID: fmt.Sprint("t", i)}, OK, "")
	}
	for _, page := range []int{1, 7, 100, 1000} {
		var got []string
		for behind := uint64(0); ; {
			list := s.LiveFrom(behind, page, func(x *Task) bool { return x.ID != "t50" })
			for _, x := range list {
				got = append(got, x.ID)
				behind = x.Order
			}
			if len(list) < page {
				break
			}
		}
		if len(got) != n-1 || got[0] != "t0" || got[50] != "t51" || got[n-2] != "t99" {
			t.Errorf("pages of %d: %d, %q", page, len(got), got)
		}
	}
}
