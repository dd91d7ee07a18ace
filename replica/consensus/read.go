package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// ReadLog calls fn for every entry of the log in a folder that no node uses,
// oldest first, until fn returns an error. The last entries may be of a proposal
// that was never committed. Errors: ErrLocked, ErrCorrupt with the entry, that of
// fn, and those of the file system.
func ReadLog(dir string, fn func(*raft.Log) error) (err error) {
	if _, err := os.Stat(filepath.Join(dir, kindFile)); err != nil {
		return fmt.Errorf("consensus: %s holds no log: %w", dir, err)
	}
	f, err := openFolder(dir, "", hclog.NewNullLogger())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	g := newGuard(f.store, StallLimit)
	first, err := g.FirstIndex()
	if err != nil || first == 0 {
		return err
	}
	last, err := g.LastIndex()
	if err != nil {
		return err
	}
	for i := first; i <= last; i++ {
		l := &raft.Log{}
		if err := g.GetLog(i, l); err != nil {
			return err
		}
		if err := fn(l); err != nil {
			return err
		}
	}
	return nil
}
