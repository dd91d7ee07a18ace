package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

// maxScatter is how many bytes of a sequence are read.
const maxScatter = 256 << 20

func (a *app) scatterCommand() *cli.Command {
	return &cli.Command{
		Name: "scatter", Usage: "split a sequence over namespaces, in order", UsageText: "farm scatter [flags] NS KEY FILE.json",
		Description: "FILE.json has a JSON array, or one JSON value a line; - is standard input. Each namespace gets a run of it under\n" +
			"KEY, as even as they come; with more namespaces than elements the last ones get an empty slice. A variable that\n" +
			"exists keeps its type; a new one gets the type that fits the whole sequence. " + nsHelp + "\n" +
			"It can be repeated: after Ctrl-C some namespaces may have their run and others not.",
		Flags: a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 3, 3)
			if err != nil {
				return err
			}
			values, err := a.readSequence(c.Context, args[2])
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return a.runScatter(ctx, conn, args[0], args[1], values, c.Bool("json"))
			})
		},
	}
}

func (a *app) runScatter(ctx context.Context, conn *connection, selection, key string, values []json.RawMessage, asJSON bool) error {
	v, err := conn.Select(ctx, selection)
	if err != nil {
		return err
	}
	if err := v.ScatterJSON(ctx, key, values); err != nil {
		return a.viewFailed(err)
	}
	if asJSON {
		return a.printJSON(scatterJSON{key, len(values), v.Names()})
	}
	a.io.talk("%d elements in %d namespaces", len(values), len(v.Names()))
	return nil
}

func (a *app) gatherCommand() *cli.Command {
	return &cli.Command{
		Name: "gather", Usage: "collect a sequence from namespaces, in order", UsageText: "farm gather [flags] NS KEY",
		Description: "Prints one JSON array: the elements of KEY of each namespace, one namespace after the other. With --lines, one\n" +
			"element a line instead, as farm map reads them. " + nsHelp + " A glob's namespaces are in the order of their numbers:\n" +
			"c2 comes before c10.",
		Flags: a.clientFlags(
			&cli.BoolFlag{Name: "lines", Usage: "print one element a line"},
			&cli.BoolFlag{Name: "stale", Usage: "any node may answer from what it has"}),
		Action: a.onFarm(2, 2, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
			return a.runGather(ctx, conn, &gatherOptions{args[0], args[1], c.Bool("lines"), c.Bool("stale"), c.Bool("json")})
		}),
	}
}

type gatherOptions struct {
	targets string // as for Client.Select
	key     string
	lines   bool
	stale   bool
	json    bool
}

func (a *app) runGather(ctx context.Context, conn *connection, o *gatherOptions) error {
	v, err := conn.Select(ctx, o.targets)
	if err != nil {
		return err
	}
	if o.stale {
		v = v.Stale()
	}
	list, err := v.GatherJSON(ctx, o.key)
	if err != nil {
		return a.viewFailed(err)
	}
	if o.json {
		return a.printJSON(gatherJSON{o.key, len(list), v.Names(), list})
	}
	w := bufio.NewWriter(a.io.out)
	if o.lines {
		for _, j := range list {
			fmt.Fprintf(w, "%s\n", j)
		}
		return w.Flush()
	}
	fmt.Fprint(w, "[")
	for i, j := range list {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		fmt.Fprintf(w, "%s", j)
	}
	fmt.Fprint(w, "]\n")
	return w.Flush()
}

// viewFailed tells what failed in each namespace, one a line.
func (a *app) viewFailed(err error) error {
	var failed *tasks.ViewError
	if !errors.As(err, &failed) {
		return err
	}
	var errs []error
	for _, f := range failed.Failed {
		a.io.talk("%v", f)
		errs = append(errs, f)
	}
	return &toldError{errs, failed.Of}
}

// readSequence reads a JSON array, or JSON lines.
func (a *app) readSequence(ctx context.Context, path string) ([]json.RawMessage, error) {
	in := a.io.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, usage("%v", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxScatter+1))
	if err != nil {
		return nil, usage("read %s: %v", path, err)
	}
	if len(text) > maxScatter {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", tasks.ErrLimit, path, maxScatter)
	}
	var list []json.RawMessage
	if json.Unmarshal(text, &list) == nil && list != nil {
		return list, nil
	}
	list = nil
	for j, err := range fromPipe(ctx, bytes.NewReader(text)) {
		if err != nil {
			return nil, fmt.Errorf("%s is neither a JSON array nor JSON lines: %w", path, err)
		}
		list = append(list, j)
	}
	return list, nil
}
