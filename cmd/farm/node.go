package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/heap"
	"farm/internal/slack"
	"farm/replica"
	"farm/tasks"
)

// stopTimeout is how long a node may take to hand its work and leadership over.
const stopTimeout = 10 * time.Second

type nodeOptions struct {
	replica.Config
	logLevel string
}

func (a *app) nodeCommand() *cli.Command {
	var o nodeOptions
	return &cli.Command{
		Name:        "node",
		Usage:       "run one node; list, drain and remove them",
		UsageText:   "farm node --data DIR --listen HOST:PORT --raft HOST:PORT [--join A,B] [--bootstrap-expect 3]\nfarm node VERB [flags] [args]",
		Subcommands: []*cli.Command{a.nodeLsCommand(), a.nodeDrainCommand(), a.nodeRemoveCommand()},
		Description: "The same command line serves for the first start and every later one. To start a new cluster, give each of its\n" +
			"nodes the same --join (the --listen addresses of all) and --bootstrap-expect. Whoever can reach the addresses can\n" +
			"run code on the machine: do not listen beyond a network you trust.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Usage: "`FOLDER` of the node's data", Destination: &o.Data},
			&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` for clients and other nodes", Value: "127.0.0.1:7401", Destination: &o.Listen},
			&cli.StringFlag{Name: "raft", Usage: "`ADDRESS` for replication", Value: "127.0.0.1:7400", Destination: &o.Raft},
			&cli.StringFlag{Name: "advertise", Usage: "`ADDRESS` at which others reach --listen (default: the same), as behind a proxy", Destination: &o.Advertise},
			&cli.StringFlag{Name: "advertise-raft", Usage: "`ADDRESS` at which other nodes reach --raft (default: the same)", Destination: &o.AdvertiseRaft},
			&cli.StringFlag{Name: "join", Usage: "`ADDRESSES` of nodes of the cluster, separated by commas; this one may be among them"},
			&cli.IntFlag{Name: "bootstrap-expect", Usage: "start a new cluster when `N` nodes are there", Destination: &o.BootstrapExpect},
			&cli.IntFlag{Name: "slots", Usage: "run `N` attempts at a time (default: the number of CPUs)", Destination: &o.Slots},
			&cli.StringSliceFlag{Name: "label", Usage: "`KEY=VALUE` that tasks may need of the node that runs them; may be repeated"},
			&cli.StringFlag{Name: "id", Usage: "`NAME` of the node (default: the one in its data, or a new one)", Destination: &o.ID},
			&cli.StringFlag{Name: "log-store", Usage: "`KIND` of log on disk, wal or boltdb; fixed at the first start (default: wal)", Destination: &o.LogStore},
			&cli.IntFlag{Name: "snapshot-entries", Usage: "cut the log when `N` entries were added since the last time (default: 8192); 10,240 are always kept", Destination: &o.SnapshotEntries},
			&cli.DurationFlag{Name: "snapshot-every", Usage: "`TIME` between looks at whether to (default: 20s)", Destination: &o.SnapshotEvery},
			&cli.StringFlag{Name: "log-level", Usage: "least `LEVEL` to log: debug, info, warn, error", Value: "info", Destination: &o.logLevel},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 && !c.IsSet("data") {
				return a.unknownVerb("node")(c)
			}
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			var err error
			if c.String("join") != "" {
				if o.Join, err = splitAddrs(c.String("join")); err != nil {
					return err
				}
			}
			if o.Labels, err = labelFlags("node", c); err != nil {
				return err
			}
			if err := o.validate(a.io); err != nil {
				return err
			}
			if err := slack.Process(slack.Node); err != nil {
				o.Logger.Warn("threads sleep no longer than they ask, which costs processor time", "error", err)
			}
			return a.runNode(c.Context, &o)
		},
	}
}

func (o *nodeOptions) validate(s streams) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return usage("--log-level %q: debug, info, warn or error", o.logLevel)
	}
	o.Logger = slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))
	o.Version = versionText()
	return o.Validate()
}

func (a *app) runNode(ctx context.Context, o *nodeOptions) error {
	n, err := replica.Start(ctx, o.Config)
	if err != nil {
		return err
	}
	tend, stop := context.WithCancel(ctx)
	defer stop()
	go heap.Tend(tend, heap.NodeRoom)
	fmt.Fprintf(a.io.out, "ready id=%s api=%s raft=%s\n", n.ID(), n.API(), n.RaftAddr())
	select {
	case <-ctx.Done():
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return told(n.Stop(limit), "stop")
	case <-n.Done():
		return told(n.Err(), "node")
	}
}

func told(err error, what string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", strings.TrimSpace(what), err)
}

func (a *app) nodeLsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list the nodes of the cluster", UsageText: "farm node ls [flags]", Flags: a.clientFlags(),
		Description: "All nodes that are reachable should come to have the same hash; \"farm status\" has the workers as well.",
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				s, err := conn.Status(ctx)
				if err != nil {
					return err
				}
				if !c.Bool("json") {
					a.nodeTable(s).print()
					return nil
				}
				for _, n := range jsonStatus(s).Nodes {
					if err := a.printJSON(n); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

func (a *app) nodeRemoveCommand() *cli.Command {
	return &cli.Command{
		Name: "remove", Usage: "take a node that does not come back out of the cluster", UsageText: "farm node remove [--force] [flags] ID",
		Description: "It no longer counts for a majority. Stop the node first: one that answers is removed only with --force, and would\n" +
			"run on alone. To replace it, start a new node with an empty folder and --join.",
		Flags: a.clientFlags(&cli.BoolFlag{Name: "force", Usage: "also when the node answers"}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return a.runNodeRemove(ctx, conn, args[0], c.Bool("force"))
			})
		},
	}
}

func (a *app) runNodeRemove(ctx context.Context, conn *connection, id string, force bool) error {
	s, err := conn.Status(ctx)
	if err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if n.ID == id && n.Reachable && !force {
			return fmt.Errorf("node %s: %w: it answers; stop it first, or use --force", id, tasks.ErrConflict)
		}
	}
	if err := conn.RemoveNode(ctx, id); err != nil {
		return err
	}
	a.io.talk("node %s is no longer a member", id)
	return nil
}
