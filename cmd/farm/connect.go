package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"farm/internal/cluster"
	"farm/tasks"
)

const (
	// localDir is where the farm of a folder is.
	localDir = ".farm"
	// dialTimeout bounds the first connection to a farm.
	dialTimeout = 5 * time.Second
)

// connectFarm connects to the nodes of addr; without any, to the farm of this
// folder, which it starts when it is not running.
func (a *app) connectFarm(ctx context.Context, addr string) (*connection, error) {
	for {
		conn, err := connectRunning(ctx, addr)
		if !errors.Is(err, cluster.ErrNotRunning) {
			return conn, err
		}
		conn, err = a.startLocal(ctx)
		if !errors.Is(err, cluster.ErrInUse) { // somebody else was faster: use theirs
			return conn, err
		}
	}
}

// connectRunning connects to the nodes of addr; without any, to the farm of this
// folder, or returns cluster.ErrNotRunning.
func connectRunning(ctx context.Context, addr string) (*connection, error) {
	if addr == "" {
		attached, err := cluster.Attach(ctx, localDir)
		if err != nil {
			return nil, err
		}
		return dialOr(ctx, attached.Addrs, attached.Release)
	}
	addrs, err := splitAddrs(addr)
	if err != nil {
		return nil, err
	}
	client, err := dial(ctx, addrs)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return &connection{Client: client}, nil
}

// startLocal starts a farm for the life of this command.
func (a *app) startLocal(ctx context.Context) (*connection, error) {
	a.io.talk("starting a local farm of three nodes in %s for this command (\"farm dev\" keeps one running)", localDir)
	c, err := cluster.Start(ctx, cluster.Options{Dir: localDir})
	if err != nil {
		return nil, fmt.Errorf("start a local farm: %w", err)
	}
	conn, err := dialOr(ctx, c.Addrs(), func() {
		// Other commands in this folder may be using it by now.
		if err := c.WaitUnused(ctx); err != nil && ctx.Err() == nil {
			a.io.talk("%v", err)
		}
		if err := c.Stop(); err != nil {
			a.io.talk("stop the local farm: %v", err)
		}
	})
	if err == nil {
		conn.local = true
	}
	return conn, err
}

// dialOr dials, and releases when that fails.
func dialOr(ctx context.Context, addrs []string, release func()) (*connection, error) {
	client, err := dial(ctx, addrs)
	if err != nil {
		release()
		return nil, err
	}
	return &connection{Client: client, release: release}, nil
}

func dial(ctx context.Context, addrs []string) (*tasks.Client, error) {
	first, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	client, err := tasks.Dial(first, addrs...)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return client, err
}

func splitAddrs(s string) ([]string, error) {
	var out []string
	for a := range strings.SplitSeq(s, ",") {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		if !strings.Contains(a, ":") {
			return nil, usage("%q is not an address: give host:port", a)
		}
		out = append(out, a)
	}
	if len(out) == 0 {
		return nil, usage("no address in %q", s)
	}
	return out, nil
}
