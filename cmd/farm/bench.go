package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/bench"
	"farm/internal/heap"
)

type benchOptions struct {
	bench.Options
	seconds  float64
	only     string
	logStore string
	json     bool
}

func (a *app) benchCommand() *cli.Command {
	var o benchOptions
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure farm on this machine",
		UsageText: "farm bench [--seconds N] [--json] [--nodes 3] [--only CASE,...]",
		Description: "Starts a fresh farm in a temporary folder, with fsync as always, and loads it. Cases: " + strings.Join(bench.Cases(), ", ") + ".\n" +
			"Figures are medians of several short runs. CPU is what nodes and their children used.",
		Flags: append([]cli.Flag{
			&cli.Float64Flag{Name: "seconds", Usage: "length of one run in `SECONDS`", Value: 1, Destination: &o.seconds},
			&cli.IntFlag{Name: "runs", Usage: "`NUMBER` of runs of which the median counts", Value: 3, Destination: &o.Runs},
			&cli.IntFlag{Name: "nodes", Usage: "`NUMBER` of nodes", Value: 3, Destination: &o.Nodes},
			&cli.StringFlag{Name: "only", Usage: "`CASES` to measure, separated by commas (default: all)", Destination: &o.only},
			&cli.IntSliceFlag{Name: "in-flight", Usage: "`CALLS` in flight; may be repeated (default: 1, 16, 256, 4096)"},
			&cli.StringFlag{Name: "dir", Usage: "make the temporary folder in `FOLDER`, to measure its disk", Destination: &o.Dir},
			&cli.StringFlag{Name: "log-store", Usage: "`KIND` of log on disk, wal or boltdb", Destination: &o.logStore},
		}, jsonFlags()...),
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			o.InFlight, o.json = c.IntSlice("in-flight"), c.Bool("json")
			if err := o.validate(); err != nil {
				return err
			}
			return a.runBench(c.Context, &o)
		},
	}
}

func (o *benchOptions) validate() error {
	if o.seconds <= 0 || o.seconds > 600 || o.Runs < 1 || o.Nodes < 1 {
		return usage("bench: --seconds, --runs and --nodes must be positive, and --seconds at most 600")
	}
	for _, n := range o.InFlight {
		if n < 1 || n > bench.MaxInFlight {
			return usage("bench: --in-flight is 1 to %d", bench.MaxInFlight)
		}
	}
	o.Run = time.Duration(o.seconds * float64(time.Second))
	if o.only != "" {
		o.Only = strings.Split(o.only, ",")
	}
	for _, name := range o.Only {
		if !bench.Known(name) {
			return usage("bench: there is no case %q; there are %s", name, strings.Join(bench.Cases(), ", "))
		}
	}
	if o.logStore != "" {
		o.NodeArgs = []string{"--log-store", o.logStore}
	}
	return nil
}

func (a *app) runBench(ctx context.Context, o *benchOptions) error {
	if a.io.errTerm || !o.json {
		o.Talk = a.io.talk
	}
	heap.Follow(heap.NodeRoom) // its own garbage is not to be measured
	r, err := bench.Run(ctx, o.Options)
	if r == nil || len(r.Results) == 0 {
		return err
	}
	if o.json {
		if e := a.printJSON(r); err == nil {
			err = e
		}
		return err
	}
	a.showBench(r)
	return err
}

func (a *app) showBench(r *bench.Report) {
	t := a.io.table("CASE", "IN FLIGHT", "PER SECOND", "P50 MS", "P99 MS", "CPU S/10,000", "ERRORS", "SLOWEST", "FASTEST")
	for _, x := range r.Results {
		t.row(x.Case, x.InFlight, fmt.Sprintf("%.0f", x.PerSecond), fmt.Sprintf("%.2f", x.P50), fmt.Sprintf("%.2f", x.P99),
			fmt.Sprintf("%.2f", x.CPU), x.Errors, fmt.Sprintf("%.0f", x.Slowest), fmt.Sprintf("%.0f", x.Fastest))
	}
	t.print()
	const mib = 1 << 20
	fmt.Fprintf(a.io.err, "%d nodes on %d CPUs, %s; the disk makes 4 KiB durable %.0f times a second (p50 %.2f ms, p99 %.2f ms)\n",
		r.Nodes, r.CPUs, r.Go, r.Fsync.PerSecond, r.Fsync.P50, r.Fsync.P99)
	fmt.Fprintf(a.io.err, "memory at most: %d MiB in a node, %d MiB in all children together\n", r.Memory.Node/mib, r.Memory.Children/mib)
}
