package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseStat(t *testing.T) {
	line := []byte("4242 (a) (b c) S 17 4242 4242 0 -1 4194560 100 0 0 0 150 50 30 20 20 0 9 0 12345 1000000 256 18446744073709551615 1 1 0")
	st, err := parseStat(line)
	if err != nil {
		t.Fatal(err)
	}
	if st.parent != 17 || st.cpu != 2500*time.Millisecond || st.rss != 256*int64(os.Getpagesize()) {
		t.Errorf("%+v", st)
	}
	if _, err := parseStat([]byte("1 (x) S 1")); err == nil {
		t.Error("a short line is accepted")
	}
}

func TestDescendants(t *testing.T) {
	all := map[int]procStat{1: {parent: 0}, 10: {parent: 1}, 11: {parent: 10}, 12: {parent: 11}, 20: {parent: 1}, 21: {parent: 20}, 30: {parent: 99}}
	got := descendants(all, []int{10})
	slices.Sort(got)
	if !slices.Equal(got, []int{11, 12}) {
		t.Errorf("%v", got)
	}
}

func TestProcessesAreCounted(t *testing.T) {
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Wait()
	defer child.Process.Kill()
	p := watchProcesses([]int{os.Getpid()})
	p.sample()
	for begun := time.Now(); time.Since(begun) < 50*time.Millisecond; {
	}
	p.stop()
	if m := p.peaks(); m.Node < 1<<20 || m.Children < 1<<10 {
		t.Errorf("%+v", m)
	}
	if p.cpu() < 30*time.Millisecond {
		t.Errorf("%v of CPU", p.cpu())
	}
}

func TestMeasureRunKeepsCallsInFlight(t *testing.T) {
	const inFlight = 8
	var mu sync.Mutex
	var waiting []func(error)
	rounds := 0
	load := func(_ context.Context, done func(error)) error {
		mu.Lock()
		defer mu.Unlock()
		if waiting = append(waiting, done); len(waiting) < inFlight {
			return nil // answered only when all of them are there
		}
		rounds++
		all := waiting
		waiting = nil
		go func() {
			for _, done := range all {
				done(nil)
			}
		}()
		return nil
	}
	time.AfterFunc(100*time.Millisecond, func() { // lets go what the end of the run left below inFlight
		for {
			mu.Lock()
			all := waiting
			waiting = nil
			mu.Unlock()
			for _, done := range all {
				done(nil)
			}
			if len(all) == 0 {
				return
			}
		}
	})
	r, err := measureRun(t.Context(), watch(t), load, inFlight, 20*time.Millisecond)
	if err != nil || rounds < 2 || r.calls < 2*inFlight || r.errors != 0 {
		t.Errorf("%d rounds, %+v, %v", rounds, r, err)
	}
}

func watch(t *testing.T) *processes {
	p := watchProcesses([]int{os.Getpid()})
	t.Cleanup(p.stop)
	return p
}

func TestMeasureRunCountsErrors(t *testing.T) {
	n := 0
	load := func(_ context.Context, done func(error)) error {
		n++
		if n%2 == 0 {
			go done(nil)
			return nil
		}
		go done(errors.New("no"))
		return nil
	}
	r, err := measureRun(t.Context(), watch(t), load, 1, 5*time.Millisecond)
	if err != nil || r.errors == 0 || r.calls == 0 || r.firstError == nil {
		t.Errorf("%+v, %v", r, err)
	}
	never := func(context.Context, func(error)) error { return errors.New("not sent") }
	if _, err := measureRun(t.Context(), watch(t), never, 3, time.Millisecond); err == nil {
		t.Error("a run without calls is a figure")
	}
}

func TestMedian(t *testing.T) {
	if median([]float64{1, 2, 9}) != 2 || median([]float64{1, 2, 4, 9}) != 3 {
		t.Error("median")
	}
}

func TestFsync(t *testing.T) {
	f, err := measureFsync(t.Context(), t.TempDir(), 20*time.Millisecond)
	if err != nil || f.PerSecond <= 0 || f.P99 < f.P50 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestUnknownCase(t *testing.T) {
	if _, err := Run(t.Context(), Options{Only: []string{"nonsense"}}); err == nil {
		t.Error("accepted")
	}
}
