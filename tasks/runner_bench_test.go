package tasks

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"farm/api"
)

// benchLeader takes reports in and says so, as a leader does.
type benchLeader struct {
	down     chan *api.ToWorker
	reported chan int
}

func (l *benchLeader) Send(m *api.FromWorker) error {
	settled := &api.ToWorker{}
	for _, c := range m.Completes {
		settled.Instructions = append(settled.Instructions, &api.Instruction{Do: &api.Instruction_Settled{Settled: &api.AttemptRef{Task: c.Task, Attempt: c.Attempt}}})
	}
	if n := len(m.Completes) + len(m.Returns); n > 0 { // on a machine that is busy some are given back
		l.down <- settled
		l.reported <- n
	}
	return nil
}

func (l *benchLeader) CloseSend() error { return nil }

func (l *benchLeader) Recv() (*api.ToWorker, error) {
	m, ok := <-l.down
	if !ok {
		return nil, context.Canceled
	}
	return m, nil
}

// processTime is the CPU time of this process.
func processTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// BenchmarkAttempts measures what a worker does for a handler that does nothing, in
// batches as they come from a leader with much to do.
func BenchmarkAttempts(b *testing.B) {
	for _, batch := range []int{16, 256} {
		b.Run(fmt.Sprint(batch), func(b *testing.B) {
			mux := NewMux()
			Handle(mux, "next", func(_ context.Context, n int64) (int64, error) { return n + 1, nil })
			l := &benchLeader{down: make(chan *api.ToWorker, 1000), reported: make(chan int, 1000)}
			serveStream(b, mux, WorkerOptions{Slots: 64}, l, func() { close(l.down) })
			l.down <- &api.ToWorker{Instructions: []*api.Instruction{welcome()}}
			work, err := proto.Marshal(&api.Work{Handler: "next", Input: []byte("12345")})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			cpu := processTime(b)
			for left := b.N; left > 0; left -= batch {
				m := &api.ToWorker{}
				for i := range batch {
					m.Instructions = append(m.Instructions, &api.Instruction{Do: &api.Instruction_Assign{Assign: &api.Assign{
						Task: fmt.Sprint("task-", left, "-", i), Attempt: 1, Work: work, Timeout: int64(time.Minute)}}})
				}
				l.down <- m
				for n := 0; n < batch; {
					n += <-l.reported
				}
			}
			b.ReportMetric(float64((processTime(b)-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
