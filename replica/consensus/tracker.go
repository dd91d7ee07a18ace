package consensus

import (
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// tracker is the state machine that raft gets. It counts what has been applied,
// after it has been: raft's own AppliedIndex counts what was handed over.
type tracker struct {
	raft.BatchingFSM
	last atomic.Uint64 // index of the last command or configuration applied
	poke func()        // after each batch
}

func (t *tracker) ApplyBatch(logs []*raft.Log) []any {
	responses := t.BatchingFSM.ApplyBatch(logs)
	if len(logs) > 0 {
		t.last.Store(logs[len(logs)-1].Index)
		t.poke()
	}
	return responses
}

func (t *tracker) Apply(l *raft.Log) any { return t.ApplyBatch([]*raft.Log{l})[0] }
