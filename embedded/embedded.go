// Package embedded is a farm inside a Go program: open a folder, get a client. It is
// for programs that want durable tasks and namespaces without a process beside
// them, and for tests, where a farm opens and closes in a moment.
//
//	func main() {
//		embedded.Main() // first: cells run in children of this same program
//		farm, err := embedded.Open(ctx, "data", embedded.Options{})
//		...
//		defer farm.Close()
//		info, err := farm.Client().Run(ctx, tasks.Task{Source: "6*7"})
//	}
//
// One replica is enough to survive a crash of the program: what was acknowledged is
// on disk. Three replicas, each with a folder of its own, survive the loss of one of
// these, and elect and replicate as a farm of three machines does; they do not
// survive their process any better. The farm listens on addresses of this machine
// only, at which the farm command reaches it too; whoever can connect to them can
// run code as this user.
//
// Code of users never runs in this process but in children of it, which are this
// same executable started again: hence Main. A disk that fails or hangs ends the
// process, as it ends a node: a farm does not go on with what it is not sure of.
package embedded

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"farm/replica"
	"farm/tasks"
	"farm/worker"
)

// Times within one process.
const (
	// aloneHeartbeat and manyHeartbeat are how long a leader may be silent: the only
	// replica elects itself after one of them.
	aloneHeartbeat = 20 * time.Millisecond
	manyHeartbeat  = 300 * time.Millisecond
	// stopTimeout bounds how long Close waits for what runs to be given back.
	stopTimeout = 10 * time.Second
)

// Errors of Open.
var (
	// ErrMain is returned by Open in a program that does not begin with Main.
	ErrMain = errors.New("embedded: call embedded.Main first thing in main, or in TestMain of a test: cells run in children of this program")
	// ErrReplicas is returned when a folder was opened before with another number of
	// replicas, or the number is not 1 or 3.
	ErrReplicas = errors.New("embedded: number of replicas")
	// ErrInUse is returned when another farm, in this process or another, uses the folder.
	ErrInUse = replica.ErrDataInUse
)

var began atomic.Bool

// Main makes this program able to run cells: in a child process it runs them and
// never returns, otherwise it returns at once. It must come first in main, before
// flags are read or anything is opened, and in TestMain of tests.
func Main() {
	worker.Child()
	began.Store(true)
}

// Options of a farm. The zero value has the defaults.
type Options struct {
	// Replicas is 1 or 3; 0: as many as the folder has, or 1. It cannot change.
	Replicas int
	// Slots is how many cells run at a time in the whole farm; 0: the number of CPUs.
	Slots int
	// Logger takes what nodes say; nil: nothing is said.
	Logger *slog.Logger
}

// Farm is a farm in this process. Its methods may be called from any goroutine.
type Farm struct {
	client *tasks.Client
	nodes  []*replica.Node
	once   sync.Once
	err    error
}

// place is where a replica is reached, the same whenever it is opened: the others
// find it there.
type place struct {
	API  string `json:"api"`
	Raft string `json:"raft"`
}

// Open opens the farm of a folder, which is made when it is missing, and returns when
// it takes calls. ctx bounds that wait and nothing later. Errors: ErrMain,
// ErrReplicas, ErrInUse, and those of the disk and network. Close it.
func Open(ctx context.Context, dir string, o Options) (*Farm, error) {
	if !began.Load() {
		return nil, ErrMain
	}
	places, err := placesOf(dir, o.Replicas)
	if err != nil {
		return nil, err
	}
	f := &Farm{nodes: make([]*replica.Node, len(places))}
	var starts sync.WaitGroup
	errs := make([]error, len(places))
	for i := range places {
		starts.Go(func() { f.nodes[i], errs[i] = replica.Start(ctx, config(dir, places, i, o)) })
	}
	starts.Wait()
	if err = errors.Join(errs...); err == nil {
		f.client, err = tasks.Dial(ctx, f.Addrs()...)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: open %s: %w", dir, err), f.Close())
	}
	return f, nil
}

// config is what replica i is started with.
func config(dir string, places []place, i int, o Options) replica.Config {
	slots := o.Slots
	if slots == 0 {
		slots = runtime.NumCPU()
	}
	c := replica.Config{ID: fmt.Sprintf("n%d", i+1), Data: filepath.Join(dir, fmt.Sprintf("n%d", i+1)),
		Listen: places[i].API, Raft: places[i].Raft, Slots: (slots + len(places) - 1) / len(places),
		BootstrapExpect: len(places), Heartbeat: aloneHeartbeat, Logger: o.Logger, Version: "embedded"}
	if len(places) > 1 {
		c.Heartbeat = manyHeartbeat
		for _, p := range places {
			c.Join = append(c.Join, p.API)
		}
	}
	return c
}

// placesFile is where the addresses are noted.
const placesFile = "embedded.json"

// placesOf reads where the replicas of a folder are, or decides it. A single one may
// be anywhere, and takes what is free each time.
func placesOf(dir string, n int) ([]place, error) {
	if n != 0 && n != 1 && n != 3 {
		return nil, fmt.Errorf("%w: %d; there can be 1 or 3", ErrReplicas, n)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, placesFile)
	b, err := os.ReadFile(path)
	var places []place
	switch {
	case err == nil:
		if err := json.Unmarshal(b, &places); err != nil || len(places) == 0 {
			return nil, fmt.Errorf("embedded: %s cannot be read: %w", path, err)
		}
		if n != 0 && n != len(places) {
			return nil, fmt.Errorf("%w: %s has %d, not %d", ErrReplicas, dir, len(places), n)
		}
		return places, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	places = make([]place, max(n, 1))
	if len(places) == 1 {
		places[0] = place{"127.0.0.1:0", "127.0.0.1:0"}
	} else if err := takeFree(places); err != nil {
		return nil, err
	}
	if b, err = json.Marshal(places); err != nil {
		return nil, err
	}
	return places, os.WriteFile(path, append(b, '\n'), 0o600)
}

// takeFree gives each place addresses that are free now.
func takeFree(places []place) error {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for i := range places {
		for _, a := range []*string{&places[i].API, &places[i].Raft} {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			held = append(held, l)
			*a = l.Addr().String()
		}
	}
	return nil
}

// Client is a client of the farm, ready for use. It is closed with the farm.
func (f *Farm) Client() *tasks.Client { return f.client }

// Addrs are the addresses at which other programs on this machine reach the farm: for
// tasks.Dial, or for the --addr of the farm command.
func (f *Farm) Addrs() []string {
	var out []string
	for _, n := range f.nodes {
		if n != nil {
			out = append(out, n.API())
		}
	}
	return out
}

// Close ends the farm: what runs is given some seconds, and runs again when the
// folder is opened the next time if it does not end by then. When it returns no
// goroutine, child process or file of the farm is left. It can be repeated.
func (f *Farm) Close() error {
	f.once.Do(func() { f.err = f.stop() })
	return f.err
}

func (f *Farm) stop() error {
	if f.client != nil {
		_ = f.client.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var stops sync.WaitGroup
	errs := make([]error, len(f.nodes))
	for i, n := range f.nodes {
		if n != nil {
			stops.Go(func() { errs[i] = n.Stop(ctx) })
		}
	}
	stops.Wait()
	return errors.Join(errs...)
}
