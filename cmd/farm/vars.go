package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

// nsHelp says what a NS argument may be.
const nsHelp = "NS may be a list (a,b), a glob ('c*') or a range ('c{0..3}')."

func (a *app) setCommand() *cli.Command {
	return &cli.Command{
		Name: "set", Usage: "set a variable of a namespace", UsageText: "farm set [flags] NS KEY JSON",
		Description: nsHelp + " JSON may be - for standard input. A variable that exists keeps its type.",
		Flags:       a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 3, 3)
			if err != nil {
				return err
			}
			value := []byte(args[2])
			if args[2] == "-" {
				if value, err = io.ReadAll(io.LimitReader(a.io.in, tasks.MaxSetBytes+1)); err != nil {
					return fmt.Errorf("read standard input: %w", err)
				}
				if len(value) > tasks.MaxSetBytes {
					return fmt.Errorf("%w: standard input has more than %d bytes", tasks.ErrLimit, tasks.MaxSetBytes)
				}
			}
			if !json.Valid(value) {
				return usage("%s is not JSON (text needs quotes of its own: '\"text\"')", short(string(value)))
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return a.overTargets(ctx, conn, args[0], func(ctx context.Context, ns string) error {
					return conn.Namespace(ns).SetJSON(ctx, args[1], value)
				})
			})
		},
	}
}

func (a *app) delCommand() *cli.Command {
	return &cli.Command{
		Name: "del", Usage: "remove a variable or declaration of a namespace", UsageText: "farm del [flags] NS KEY",
		Description: nsHelp,
		Flags:       a.clientFlags(),
		Action: a.onFarm(2, 2, func(ctx context.Context, conn *connection, _ *cli.Context, args []string) error {
			return a.overTargets(ctx, conn, args[0], func(ctx context.Context, ns string) error {
				return conn.Namespace(ns).Delete(ctx, args[1])
			})
		}),
	}
}

func (a *app) overTargets(ctx context.Context, conn *connection, spec string, do func(ctx context.Context, ns string) error) error {
	names, many, err := targets(ctx, conn, spec)
	if err != nil {
		return err
	}
	if !many {
		return do(ctx, names[0])
	}
	return a.each(ctx, names, func(ctx context.Context, ns string) (func() error, error) { return nil, do(ctx, ns) })
}

func (a *app) getCommand() *cli.Command {
	return &cli.Command{
		Name: "get", Usage: "print a variable of a namespace as JSON", UsageText: "farm get [flags] NS KEY",
		Description: nsHelp + " Then each line has the namespace before it.\n" +
			"A struct is an object with the names that Go's encoding/json gives its fields; those that are not exported are there\n" +
			"as well.",
		Flags: a.clientFlags(
			&cli.BoolFlag{Name: "type", Usage: "print its Go type instead"},
			&cli.BoolFlag{Name: "stale", Usage: "any node may answer from what it has"}),
		Action: a.onFarm(2, 2, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
			o := getOptions{args[0], args[1], c.Bool("type"), c.Bool("stale"), c.Bool("json")}
			return a.runGet(ctx, conn, &o)
		}),
	}
}

type getOptions struct {
	targets string // as for Client.Select
	key     string
	typ     bool // print the type
	stale   bool
	json    bool
}

func (a *app) runGet(ctx context.Context, conn *connection, o *getOptions) error {
	names, many, err := targets(ctx, conn, o.targets)
	if err != nil {
		return err
	}
	return a.each(ctx, names, func(ctx context.Context, ns string) (func() error, error) {
		n := conn.Namespace(ns)
		if o.stale {
			n = n.Stale()
		}
		v, err := n.Variable(ctx, o.key)
		if err != nil {
			return nil, err
		}
		text := string(v.JSON)
		if o.typ {
			text = v.Type
		}
		return func() error {
			switch {
			case o.json:
				return a.printJSON(variableJSON{ns, o.key, v.JSON, v.Type, v.Version})
			case many:
				fmt.Fprintf(a.io.out, "%s: %s\n", ns, text)
			default:
				fmt.Fprintln(a.io.out, text)
			}
			return nil
		}, nil
	})
}

// short is a text for a message.
func short(s string) string {
	const most = 60
	if len(s) > most {
		return fmt.Sprintf("%q…", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
