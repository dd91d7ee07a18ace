package worker

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"farm/namespace"
	"farm/namespace/live"

	"golang.org/x/sys/unix"
)

// processCPU is the processor time of another process, 0 when it is gone.
func processCPU(pid int) time.Duration {
	const cpuOfProcess = 2
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuOfProcess), &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// benchChild starts a child for each operation and gives it to use, on a thread
// that is confined or not.
func benchChild(b *testing.B, confined bool, command []string, use func(p *process) error) {
	l := Limits{}.withDefaults()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		last, confining := answersFD, time.Duration(0)
		if confined {
			began := time.Now()
			s, err := confineThread(command[0])
			if err != nil {
				done <- err
				return
			}
			confining = time.Since(began)
			defer s.close()
			last = s.lastInherited()
		}
		for b.Loop() {
			p, err := forkChild(command, l, last)
			if err == nil {
				err = p.becomeReady(l)
			}
			if err == nil && use != nil {
				err = use(p)
			}
			if err != nil {
				done <- err
				return
			}
			p.kill()
			p.close()
		}
		b.ReportMetric(float64(confining.Microseconds()), "once-us")
		done <- nil
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// From nothing to the result of a cell in a small namespace: a process started
// and confined, its interpreter made, the namespace loaded.
func BenchmarkColdRestore(b *testing.B) { onEngines(b, coldRestoreOn) }

func coldRestoreOn(b *testing.B, engine string) {
	c := live.New(live.Options{})
	for i := range 10 {
		if _, err := c.Run(b.Context(), namespace.Run{Engine: engine, Source: fmt.Sprintf("type T%d struct{ A, B int }\nvar x%d = []T%d{{1, 2}}\nfunc f%d() int { return x%d[0].A }", i, i, i, i, i)}); err != nil {
			b.Fatal(err)
		}
	}
	command, err := selfCommand()
	if err != nil {
		b.Fatal(err)
	}
	items := c.Items()
	b.Run("start and restore", func(b *testing.B) {
		benchChild(b, true, command, func(p *process) error { return firstCell(p, items) })
	})
	// With a child that was started ahead, as a worker does.
	b.Run("restore", func(b *testing.B) {
		var restoring time.Duration
		benchChild(b, true, command, func(p *process) error {
			began := time.Now()
			defer func() { restoring += time.Since(began) }()
			return firstCell(p, items)
		})
		b.ReportMetric(float64(restoring.Microseconds())/1000/float64(b.N), "restore-ms/op")
	})
}

func firstCell(p *process, items namespace.Items) error {
	e := p.exchange(&order{mode: restore, items: items, namespace: "s", task: "t", attempt: 1, source: "f3() + x7[0].B"}, time.Minute, func(int64, int64) {})
	if e.answer == nil || e.answer.failure != nil || string(e.answer.value) != "3" {
		return fmt.Errorf("%+v", e.answer)
	}
	return nil
}

// What confinement adds to the start of a child, without an interpreter.
func BenchmarkStart(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("free", func(b *testing.B) { benchChild(b, false, []string{exe, bareArg}, nil) })
	b.Run("landlock", func(b *testing.B) { benchChild(b, true, []string{exe, bareArg}, nil) })
	b.Run("full", func(b *testing.B) { benchChild(b, true, []string{exe, fakeArg}, nil) })
}
