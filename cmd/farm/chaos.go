package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/chaos"
)

type chaosOptions struct {
	chaos.Options
	scenario string
	minutes  float64
	list     bool
	json     bool
}

// maxSeed keeps seeds short enough to be typed.
const maxSeed = 1_000_000

func (a *app) chaosCommand() *cli.Command {
	var o chaosOptions
	return &cli.Command{
		Name:      "chaos",
		Usage:     "break a farm on this machine and check its promises",
		UsageText: "farm chaos [--scenario NAME,...|all] [--minutes N] [--seed S] [--nodes N] [--log-store KIND] [--engine ENGINE] [--json]",
		Description: "Starts a fresh farm in a temporary folder for each scenario, kills, pauses, cuts off and damages its nodes while\n" +
			"clients use it, and checks what it promises. The exit code is 1 when a promise was broken; then the folder with all\n" +
			"data, logs and the clients' history is kept. Each scenario injects each of its faults at least once.",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "scenario", Usage: "`NAMES` of scenarios, separated by commas, or all", Value: "all", Destination: &o.scenario},
			&cli.Float64Flag{Name: "minutes", Usage: "inject faults for `MINUTES`, shared by the scenarios (default: each fault once)", Destination: &o.minutes},
			&cli.Uint64Flag{Name: "seed", Usage: "`NUMBER` that decides the faults and their order (default: a new one)", Destination: &o.Seed},
			&cli.IntFlag{Name: "nodes", Usage: "`NUMBER` of nodes (default: 3)", Destination: &o.Nodes},
			&cli.StringFlag{Name: "log-store", Usage: "`KIND` of log on disk, wal or boltdb", Value: "wal", Destination: &o.LogStore},
			&cli.StringFlag{Name: "engine", Usage: "`ENGINE` of all cells, yaegi or ssa (default: that of the farm)", Destination: &o.Engine},
			&cli.StringFlag{Name: "dir", Usage: "make the temporary folders in `FOLDER`", Destination: &o.Dir},
			&cli.BoolFlag{Name: "keep", Usage: "keep the folders whatever is found", Destination: &o.Keep},
			&cli.BoolFlag{Name: "list", Usage: "list the scenarios", Destination: &o.list},
		}, jsonFlags()...),
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			o.json = c.Bool("json")
			scenarios, err := o.validate()
			if err != nil {
				return err
			}
			if o.list {
				return a.listScenarios()
			}
			return a.runChaos(c.Context, &o, scenarios)
		},
	}
}

func (o *chaosOptions) validate() ([]chaos.Scenario, error) {
	if o.minutes < 0 || o.minutes > 7*24*60 {
		return nil, usage("chaos: --minutes is 0 to %d", 7*24*60)
	}
	if o.Nodes != 0 && (o.Nodes < 3 || o.Nodes > 9) {
		return nil, usage("chaos: --nodes is 3 to 9: fewer cannot lose one")
	}
	if o.LogStore != "wal" && o.LogStore != "boltdb" {
		return nil, usage("chaos: --log-store is wal or boltdb")
	}
	if o.Engine != "" {
		if err := checkEngine("chaos", o.Engine); err != nil {
			return nil, err
		}
	}
	if o.scenario == "all" {
		return chaos.Scenarios(), nil
	}
	var out []chaos.Scenario
	for _, name := range strings.Split(o.scenario, ",") {
		s, ok := chaos.Find(name)
		if !ok {
			return nil, usage("chaos: there is no scenario %q; farm chaos --list names them", name)
		}
		out = append(out, s)
	}
	return out, nil
}

func (a *app) listScenarios() error {
	t := a.io.table("SCENARIO", "WHAT", "FAULTS")
	for _, s := range chaos.Scenarios() {
		t.row(s.Name, s.About, strings.Join(s.Faults, ", "))
	}
	t.print()
	return nil
}

func (a *app) runChaos(ctx context.Context, o *chaosOptions, scenarios []chaos.Scenario) error {
	var err error
	if o.Binary, err = os.Executable(); err != nil {
		return err
	}
	if o.Seed == 0 {
		o.Seed = 1 + rand.Uint64N(maxSeed)
	}
	o.Talk = a.io.talk
	a.io.talk("seed %d", o.Seed)
	o.Duration = time.Duration(o.minutes * float64(time.Minute) / float64(len(scenarios)))
	var reports []*chaos.Report
	broken := false
	var errs []error
	for _, s := range scenarios {
		r, err := s.Run(ctx, o.Options)
		if r != nil {
			reports = append(reports, r)
			broken = broken || len(r.Violations) > 0
		}
		if err != nil {
			errs = append(errs, err)
			a.io.talk("%v", err)
		}
		if ctx.Err() != nil {
			break
		}
		if o.json && r != nil {
			if err := a.printJSON(r); err != nil {
				return err
			}
		}
	}
	if !o.json {
		a.showChaos(reports)
	}
	switch {
	case len(errs) > 0:
		return errors.Join(errs...)
	case broken:
		return errSilent
	}
	return nil
}

func (a *app) showChaos(reports []*chaos.Report) {
	chaos.WriteTable(a.io.out, reports)
	for _, r := range reports {
		for _, v := range r.Violations {
			fmt.Fprintf(a.io.out, "BROKEN in %s, seed %d: %s: %s\n", r.Scenario, r.Seed, v.Promise, v.What)
		}
		if len(r.Violations) > 0 {
			fmt.Fprintf(a.io.out, "everything is kept in %s\n", r.Folder)
		}
	}
}
