package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"

	"farm/fsm"
	"farm/replica/consensus"
)

// ErrReplay is returned by Verify when the log makes another state than the one
// that is there.
var ErrReplay = errors.New("the state is not what its log makes of it")

// Verified is what Verify found.
type Verified struct {
	Applied     uint64 // last log entry in the state
	Hash        string // of the state
	First, Last uint64 // entries of the log; 0 when it is empty
	// Replayed tells that the log reached back to its first entry, and made the
	// same state from nothing. A log that was cut can only be read.
	Replayed bool
}

// replayBatch is how many entries are given to the state machine at a time.
const replayBatch = 64

// Verify checks the data folder of a node that does not run: every record of the
// state and every entry of the log against its checksum, and, when the whole log
// is there, that replaying it from nothing makes the same state. Errors:
// ErrReplay, fsm.ErrCorrupt, consensus.ErrCorrupt, fsm.ErrLocked, that of ctx.
func Verify(ctx context.Context, dir string) (v *Verified, err error) {
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	quiet := slog.New(slog.DiscardHandler)
	m, err := fsm.Open(fsm.Options{Dir: dir, Logger: quiet, Fatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.Verify(ctx); err != nil {
		return nil, err
	}
	v = &Verified{}
	if v.Applied, v.Hash, err = m.Hash(ctx); err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp("", "farm-verify-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	again, err := fsm.Open(fsm.Options{Dir: scratch, Logger: quiet, Fatal: func(error) {}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, again.Close()) }()
	if err := v.read(ctx, filepath.Join(dir, "raft"), again); err != nil || !v.Replayed {
		return v, err
	}
	return v, v.compare(ctx, m, again)
}

// read reads the whole log, and applies what the state has of it.
func (v *Verified) read(ctx context.Context, dir string, again *fsm.Machine) error {
	var batch []*raft.Log
	apply := func() {
		again.ApplyBatch(batch)
		batch = batch[:0]
	}
	err := consensus.ReadLog(dir, func(l *raft.Log) error {
		if v.Last = l.Index; v.First == 0 {
			v.First = l.Index
		}
		if v.First != 1 || l.Index > v.Applied {
			return ctx.Err()
		}
		if batch = append(batch, l); len(batch) == replayBatch {
			apply()
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	apply()
	v.Replayed = v.First == 1 && v.Last >= v.Applied
	return nil
}

func (v *Verified) compare(ctx context.Context, m, again *fsm.Machine) error {
	applied, hash, err := again.Hash(ctx)
	if err != nil {
		return err
	}
	_, was := m.Chain()
	_, is := again.Chain()
	if applied != v.Applied || hash != v.Hash || was != is {
		return fmt.Errorf("%w: the state is %.12s after entry %d, the log makes %.12s of entry %d", ErrReplay, v.Hash, v.Applied, hash, applied)
	}
	return nil
}
