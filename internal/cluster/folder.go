package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Errors of Start and Attach.
var (
	// ErrInUse is returned when another process runs a farm in the folder.
	ErrInUse = errors.New("another farm is running in this folder")
	// ErrNotRunning is returned when no process runs a farm in the folder.
	ErrNotRunning = errors.New("no farm is running in this folder")
	// ErrNodes is returned when the folder holds a farm of another size.
	ErrNodes = errors.New("the folder holds a farm of another size")
	// ErrPort is returned when a port of the folder's nodes is taken.
	ErrPort = errors.New("a port of this farm is in use")
)

// Node is where one node is found.
type Node struct {
	ID   string `json:"id"`
	Raft string `json:"raft"`
	API  string `json:"api"`
}

// ready is cluster.json.
type ready struct {
	Addrs []string `json:"addrs"`
	PIDs  []int    `json:"pids"`
}

// Ports: the first farm on a machine gets them from firstPort on, two a node;
// others somewhere in [lowPort, highPort), which is below the ports that
// outgoing connections take, so that they are still free at the next start.
const (
	firstPort         = 7400
	lowPort, highPort = 10_000, 32_000
	portTries         = 100
	maxNodes          = 9
	pollEvery         = 20 * time.Millisecond
)

// lockFile opens path and locks it without waiting; ErrInUse when it is locked.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB); err != nil {
		unlock(f)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// unlock gives a lock free. Nothing was written, so nothing can be lost.
func unlock(f *os.File) { _ = f.Close() }

// waitLock is lockFile, waiting until ctx ends.
func waitLock(ctx context.Context, path string, how int) (*os.File, error) {
	for {
		f, err := lockFile(path, how)
		if !errors.Is(err, ErrInUse) {
			return f, err
		}
		if err := sleep(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Attached is the use of a farm that another process runs.
type Attached struct {
	Addrs []string
	users *os.File
}

// Release says that the farm is not used any more.
func (a *Attached) Release() { unlock(a.users) }

// Attach uses the farm that another process runs in dir, waiting while it
// starts. ErrNotRunning when there is none.
func Attach(ctx context.Context, dir string) (*Attached, error) {
	for {
		if _, err := os.Stat(filepath.Join(dir, "lock")); errors.Is(err, fs.ErrNotExist) {
			return nil, ErrNotRunning
		}
		// A process that is stopping its farm holds this one exclusively.
		users, err := waitLock(ctx, filepath.Join(dir, "users"), unix.LOCK_SH)
		if err != nil {
			return nil, err
		}
		lock, err := lockFile(filepath.Join(dir, "lock"), unix.LOCK_SH)
		if err == nil {
			unlock(lock)
			unlock(users)
			return nil, ErrNotRunning
		}
		if !errors.Is(err, ErrInUse) {
			unlock(users)
			return nil, err
		}
		var r ready
		if err := readJSON(filepath.Join(dir, "cluster.json"), &r); err == nil && len(r.Addrs) > 0 {
			return &Attached{Addrs: r.Addrs, users: users}, nil
		}
		unlock(users)
		if err := sleep(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

// nodes returns the folder's nodes, choosing them the first time, and the claim
// to their ports.
func nodes(dir string, n int) ([]Node, claim, error) {
	path := filepath.Join(dir, "nodes.json")
	var list []Node
	err := readJSON(path, &list)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		list, ports, err := chooseNodes(n)
		if err != nil {
			return nil, nil, err
		}
		return list, ports, writeJSON(path, list)
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	case n != 0 && len(list) != n:
		return nil, nil, fmt.Errorf("%w: %s has %d nodes, not %d", ErrNodes, dir, len(list), n)
	}
	ports, taken := claimPorts(list)
	if taken != "" {
		return nil, nil, fmt.Errorf("%w: %s, named in %s", ErrPort, taken, path)
	}
	return list, ports, nil
}

// claim keeps ports from being chosen by other farms of this user, also while
// no node listens on them: before its start, and between its death and the next.
type claim []*os.File

func (c claim) release() {
	for _, f := range c {
		unlock(f)
	}
}

// claimPorts claims the ports of all nodes, or says which address is taken.
// Where claims cannot be written down it goes by what is listened on alone.
func claimPorts(list []Node) (ports claim, taken string) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("farm-ports-%d", os.Getuid()))
	_ = os.MkdirAll(dir, 0o700)
	for _, node := range list {
		for _, a := range []string{node.Raft, node.API} {
			_, port, _ := net.SplitHostPort(a)
			f, err := lockFile(filepath.Join(dir, port), unix.LOCK_EX)
			if err == nil {
				ports = append(ports, f)
			}
			if errors.Is(err, ErrInUse) || !free(a) {
				ports.release()
				return nil, a
			}
		}
	}
	return ports, ""
}

func chooseNodes(n int) ([]Node, claim, error) {
	base := firstPort
	for range portTries {
		list := make([]Node, n)
		for i := range list {
			list[i] = Node{ID: fmt.Sprintf("n%d", i+1), Raft: fmt.Sprintf("127.0.0.1:%d", base+2*i), API: fmt.Sprintf("127.0.0.1:%d", base+2*i+1)}
		}
		if ports, taken := claimPorts(list); taken == "" {
			return list, ports, nil
		}
		base = lowPort + 2*rand.N((highPort-lowPort)/2-maxNodes)
	}
	return nil, nil, fmt.Errorf("%w: found no %d free ports between %d and %d", ErrPort, 2*n, lowPort, highPort)
}

func free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	l.Close()
	return true
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// writeJSON replaces a file so that readers see all of it or what was there.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
