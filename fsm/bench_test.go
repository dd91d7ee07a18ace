package fsm

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"golang.org/x/sys/unix"

	"farm/scheduler"
)

// BenchmarkApply is the cost of a task, submitted and completed, by the number
// of commands in an entry and of tasks in flight; the disk is written in the
// background.
func BenchmarkApply(b *testing.B) {
	for _, c := range []struct{ commands, inFlight int }{{1, 1}, {16, 1}, {128, 1}, {1024, 1}, {1024, 4096}} {
		b.Run(fmt.Sprint(c.commands, "_commands_", c.inFlight, "_in_flight"), func(b *testing.B) {
			m := mustOpen(b, Options{Dir: b.TempDir()})
			m.ApplyBatch(command(1, &scheduler.Found{Cluster: "c", Form: scheduler.FormNewest}, &scheduler.WorkerUp{Worker: "w", Incarnation: 1, Slots: scheduler.MaxSlots, Has: []string{need}}))
			logs := pairs(2, b.N, c.commands, c.inFlight)
			b.ReportAllocs()
			b.ResetTimer()
			cpu := processTime(b)
			m.ApplyBatch(logs)
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
			mustHash(b, m)
			b.ReportMetric(float64((processTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
			m.View(func(s *scheduler.State) {
				if c := s.Counts(); c.Succeeded != uint64(b.N) {
					b.Errorf("%+v, want %d succeeded", c, b.N)
				}
			})
			mustClose(b, m)
		})
	}
}

// processTime is the CPU time that the process has used: unlike the time that passed,
// it says something on a machine with other work.
func processTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const need = scheduler.NeedHandler + "h"

// pairs are entries of size commands that submit and complete calls of a handler, each
// completed when inFlight tasks have been submitted from it on.
func pairs(index uint64, tasks, size, inFlight int) (logs []*raft.Log) {
	body, outcome := make([]byte, 100), make([]byte, 50)
	var cmds []scheduler.Command
	add := func(c scheduler.Command) {
		if cmds = append(cmds, c); len(cmds) == size {
			logs = append(logs, command(index, cmds...)...)
			index++
			cmds = cmds[:0]
		}
	}
	name := func(i int) string { return fmt.Sprintf("01k9q2x7-task-%013d", i) } // as long as ids that clients make, and growing as they do
	for i := range tasks + inFlight - 1 {
		if i < tasks {
			add(&scheduler.Submit{ID: name(i), Kind: scheduler.Run, Body: body, Options: &scheduler.Options{Needs: []string{need}}})
		}
		if done := i - inFlight + 1; done >= 0 {
			add(&scheduler.Complete{Task: name(done), Attempt: 1, Worker: "w", Incarnation: 1, Status: scheduler.Success, Outcome: outcome, Took: 1e6})
		}
	}
	if len(cmds) > 0 {
		logs = append(logs, command(index, cmds...)...)
	}
	return logs
}
