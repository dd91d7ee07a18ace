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
// of commands in an entry; the disk is written in the background.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1, 16, 128, 1024} {
		b.Run(fmt.Sprint(n, "_commands"), func(b *testing.B) {
			m := mustOpen(b, Options{Dir: b.TempDir()})
			m.ApplyBatch(command(1, &scheduler.WorkerUp{Worker: "w", Incarnation: 1, Slots: scheduler.MaxSlots}))
			logs := pairs(2, b.N, n)
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

// pairs are entries of size commands that submit and complete private tasks.
func pairs(index uint64, tasks, size int) (logs []*raft.Log) {
	body, outcome := make([]byte, 100), make([]byte, 50)
	var cmds []scheduler.Command
	add := func(c scheduler.Command) {
		if cmds = append(cmds, c); len(cmds) == size {
			logs = append(logs, command(index, cmds...)...)
			index++
			cmds = cmds[:0]
		}
	}
	for i := range tasks {
		id := fmt.Sprintf("01k9q2x7-task-%013d", i) // as long as those that clients make, and growing as they do
		add(&scheduler.Submit{ID: id, Kind: scheduler.Run, Body: body})
		add(&scheduler.Complete{Task: id, Attempt: 1, Worker: "w", Incarnation: 1, Status: scheduler.Success, Outcome: outcome, Took: 1e6})
	}
	if len(cmds) > 0 {
		logs = append(logs, command(index, cmds...)...)
	}
	return logs
}
