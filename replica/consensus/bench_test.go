package consensus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// benchCluster is three nodes in this process, on real disks and loopback, with the
// timeouts of production.
func benchCluster(b *testing.B, kind string) *member {
	c := newCluster(b, 3, func(_ int, c *Config) {
		c.LogStore = kind
		c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout, c.CommitTimeout = time.Second, time.Second, 500*time.Millisecond, 50*time.Millisecond
	})
	l := c.leader()
	if err := l.ReadBarrier(context.Background()); err != nil {
		b.Fatal(err)
	}
	return l
}

// inFlight runs do b.N times, n at once.
func inFlight(b *testing.B, n int, do func(i uint64) error) {
	var next atomic.Uint64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for i := next.Add(1); i <= uint64(b.N); i = next.Add(1) {
				if err := do(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkPropose is the time of a command, committed by fsync on a majority of
// three nodes and applied, with 1, 16 and 256 callers.
func BenchmarkPropose(b *testing.B) {
	for _, kind := range []string{LogStoreWAL, LogStoreBoltDB} {
		for _, n := range []int{1, 16, 256} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				l := benchCluster(b, kind)
				b.ReportAllocs()
				inFlight(b, n, func(i uint64) error {
					_, err := l.Propose(context.Background(), toyCommand(i, 1))
					return err
				})
				s := l.Stats()
				b.ReportMetric(float64(s.Commands)/float64(max(s.Entries, 1)), "commands/entry")
			})
		}
	}
}

// BenchmarkReadBarrier is the time of a linearizable read on three nodes.
func BenchmarkReadBarrier(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := benchCluster(b, LogStoreWAL)
			b.ReportAllocs()
			inFlight(b, n, func(uint64) error { return l.ReadBarrier(context.Background()) })
		})
	}
}
