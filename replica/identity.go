package replica

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"farm/scheduler"
)

// identity is Data/node.json: who the node is. It is written once.
type identity struct {
	Format   int    `json:"format"`
	ID       string `json:"id"`
	Instance string `json:"instance"` // random: tells it from nodes of that id in other clusters
}

const (
	identityFormat = 1
	instanceSize   = 16 // bytes
)

// loadIdentity reads the node's identity, or makes one with the id asked for.
func loadIdentity(dir, id string) (identity, error) {
	path := filepath.Join(dir, "node.json")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if id == "" {
			id = "n-" + randomHex(4)
		}
		me := identity{identityFormat, id, randomHex(instanceSize)}
		return me, writeFile(path, me)
	}
	if err != nil {
		return identity{}, err
	}
	var me identity
	if err := json.Unmarshal(b, &me); err != nil || !scheduler.ValidName(me.ID) {
		return me, fmt.Errorf("%s is damaged: it should hold {\"format\":1,\"id\":\"…\"}", path)
	}
	switch {
	case me.Format > identityFormat:
		return me, fmt.Errorf("%w: %s has format %d, this farm knows up to %d", ErrNewerFormat, path, me.Format, identityFormat)
	case id != "" && id != me.ID:
		return me, fmt.Errorf("%w: %s is the folder of node %s, not %s", ErrNodeID, dir, me.ID, id)
	}
	if me.Instance == "" { // the folder is older than instances
		me.Instance = randomHex(instanceSize)
		return me, writeFile(path, me)
	}
	return me, nil
}

// writeFile makes a JSON file durable: all of it is there or none.
func writeFile(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lockDir takes the folder for this process until the file is closed.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "LOCK"), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(lockWait); syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil; time.Sleep(lockRetry) {
		if time.Now().After(end) {
			_ = f.Close() // nothing was written
			return nil, fmt.Errorf("%w: %s", ErrDataInUse, dir)
		}
	}
	return f, nil
}

// A node that was killed leaves its folder locked for a moment when it was just
// starting a child: until that has become another program, it holds what is open.
const (
	lockWait  = 2 * time.Second
	lockRetry = 10 * time.Millisecond
)

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}
