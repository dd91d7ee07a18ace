package scheduler

import (
	"fmt"
	"testing"
	"time"
)

// laps gives a state n private tasks, one after the other, and completes each.
func laps(s *State, n int) time.Duration {
	began := time.Now()
	for i := range n {
		id := fmt.Sprintf("lap%d-%d", s.FinHi, i)
		s.Step(&Submit{ID: id, Kind: Run})
		s.Step(&Complete{Task: id, Attempt: 1, Worker: "w", Incarnation: 1, Status: Success, Took: 1e6})
		s.Effects()
	}
	return time.Since(began)
}

// TestBlockedCostNothing: what no worker can take, however much of it there is,
// costs the others nothing.
func TestBlockedCostNothing(t *testing.T) {
	const blocked, tasks = 100_000, 2_000
	free, full := mustLoad(plainRecords{}), mustLoad(plainRecords{})
	for _, s := range []*State{free, full} {
		s.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 4})
		laps(s, tasks)
	}
	for i := range blocked {
		s := full
		o := &Options{Needs: []string{fmt.Sprintf("label:gpu=%d", i%500)}}
		if r := s.Step(&Submit{ID: fmt.Sprint("t", i), Kind: Run, Priority: 9, Options: o}); r.Code != OK {
			t.Fatal(r)
		}
	}
	a, b := laps(free, tasks), laps(full, tasks)
	if full.Counts().Succeeded != 2*tasks || full.Counts().Queued != blocked {
		t.Fatalf("%+v", full.Counts())
	}
	// A look at each of them for each task would be a thousand times as much.
	if b > 20*a+time.Second {
		t.Errorf("%d tasks took %v, beside %d that wait for a label %v", tasks, a, blocked, b)
	}
	full.Step(&WorkerUp{Worker: "gpu", Incarnation: 1, Slots: 1, Has: []string{"label:gpu=7"}})
	if x := full.Assigned("gpu"); len(x) == 0 || x[0].ID != "t7" {
		t.Errorf("a worker with the label was given %v", x)
	}
}

// TestNeedsSets: the number of different sets of needs is bounded, those in use
// go on, and those that nothing needs any more are forgotten.
func TestNeedsSets(t *testing.T) {
	s := mustLoad(plainRecords{})
	submit := func(i int) Result {
		return s.Step(&Submit{ID: fmt.Sprint("t", s.Order), Kind: Run, Options: &Options{Needs: []string{fmt.Sprint("label:n=", i)}}})
	}
	for i := range MaxNeedsSets - 1 { // needing nothing is one
		if r := submit(i); r.Code != OK {
			t.Fatal(r)
		}
	}
	if r := submit(MaxNeedsSets); r.Code != Limit {
		t.Errorf("one more: %+v", r)
	}
	if r := submit(0); r.Code != OK {
		t.Errorf("one of those there are: %+v", r)
	}
	s.Step(&Cancel{ID: "t5"})
	if r := submit(MaxNeedsSets); r.Code != OK {
		t.Errorf("after one ended: %+v", r)
	}
	s = mustLoad(s.settled())
	if err := checkLines(s); err != nil || len(s.classes) != MaxNeedsSets {
		t.Errorf("%d classes after loading, %v", len(s.classes), err)
	}
}
