package scheduler

import (
	"fmt"
	"testing"
)

// BenchmarkStep is the cost of a task, submitted and completed: private ones,
// and those of one namespace, each putting an item.
func BenchmarkStep(b *testing.B) {
	for _, ns := range []string{"", "n"} {
		name := "private"
		if ns != "" {
			name = "namespace"
		}
		b.Run(name, func(b *testing.B) {
			s := mustLoad(plainRecords{})
			s.Step(&WorkerUp{Worker: "w", Incarnation: 1, Slots: 64})
			body := make([]byte, 100)
			b.ReportAllocs()
			for i := range b.N {
				id := fmt.Sprint("task-", i)
				s.Advance(int64(i))
				s.Step(&Submit{ID: id, Namespace: ns, Kind: Run, Body: body})
				c := &Complete{Task: id, Attempt: 1, Worker: "w", Incarnation: 1, Status: Success, Outcome: body, Took: 1e6}
				if n := s.namespaces[ns]; n != nil {
					c.Epoch, c.Base, c.Change.Put = n.Epoch, n.Version, []Item{{Key: "x", Value: body}}
				}
				s.Step(c)
				s.Effects()
			}
			if n := s.Counts().Succeeded; n != uint64(b.N) {
				b.Fatalf("%d of %d succeeded", n, b.N)
			}
		})
	}
}
