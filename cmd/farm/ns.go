package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"farm/tasks"
)

func (a *app) nsCommand() *cli.Command {
	return &cli.Command{
		Name: "ns", Usage: "list, show, copy, take back and remove namespaces", UsageText: "farm ns VERB [flags] [args]",
		Subcommands: []*cli.Command{
			{
				Name: "ls", Usage: "list namespaces", UsageText: "farm ns ls [flags] [GLOB]", Flags: a.clientFlags(),
				Action: a.onFarm(0, 1, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
					return a.runNsLs(ctx, conn, strings.Join(args, ""), c.Bool("json"))
				}),
			},
			{
				Name: "show", Usage: "show what a namespace holds", UsageText: "farm ns show [flags] NS", Flags: a.clientFlags(),
				Action: a.onFarm(1, 1, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
					return a.runNsShow(ctx, conn, args[0], c.Bool("json"))
				}),
			},
			{
				Name: "rm", Usage: "remove namespaces with all they hold", UsageText: "farm ns rm [flags] NS...", Flags: a.clientFlags(),
				Description: "Tasks submitted before are finished first. " + nsHelp,
				Action: a.onFarm(1, -1, func(ctx context.Context, conn *connection, _ *cli.Context, args []string) error {
					return a.overTargets(ctx, conn, strings.Join(args, ","), func(ctx context.Context, ns string) error {
						return conn.Namespace(ns).Drop(ctx)
					})
				}),
			},
			a.nsHistoryCommand(), a.nsRestoreCommand(), a.nsForkCommand(), a.nsExportCommand(), a.nsImportCommand(),
		},
	}
}

func (a *app) runNsLs(ctx context.Context, conn *connection, pattern string, asJSON bool) error {
	list, err := conn.Namespaces(ctx, pattern)
	if err != nil {
		return err
	}
	t := a.io.table("NAME", "VERSION", "ITEMS", "BYTES", "QUEUE", "WORKER", "CHANGED")
	for _, n := range list {
		if asJSON {
			if err := a.printJSON(jsonNamespace(n)); err != nil {
				return err
			}
			continue
		}
		t.row(n.Name, n.Version, n.Items, n.Bytes, n.Queue, n.Worker, a.io.ago(n.Changed))
	}
	if !asJSON && (len(list) > 0 || !a.io.outTerm) {
		t.print()
	}
	return nil
}

func (a *app) runNsShow(ctx context.Context, conn *connection, name string, asJSON bool) error {
	n, err := conn.Namespace(name).Show(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(jsonNamespace(n))
	}
	engine := ""
	if n.Engine != "" {
		engine = ", engine " + n.Engine
	}
	a.io.talk("namespace %s, version %d, %d bytes, %d tasks queued%s", n.Name, n.Version, n.Bytes, n.Queue, engine)
	for _, d := range n.Declarations {
		fmt.Fprintln(a.io.out, declarationText(d))
	}
	if len(n.Declarations) > 0 && len(n.Variables) > 0 && a.io.outTerm {
		fmt.Fprintln(a.io.out)
	}
	t := a.io.table("VARIABLE", "TYPE", "BYTES", "CHANGED IN")
	for _, v := range n.Variables {
		t.row(v.Name, v.Type, v.Bytes, v.Version)
	}
	if len(n.Variables) > 0 {
		t.print()
	}
	return nil
}

// declarationText is a declaration as Go.
func declarationText(d tasks.DeclarationInfo) string {
	if d.Kind != "import" {
		return strings.TrimRight(d.Source, "\n")
	}
	if i := strings.LastIndexByte(d.Source, '/'); d.Source[i+1:] == d.Name {
		return fmt.Sprintf("import %q", d.Source)
	}
	return fmt.Sprintf("import %s %q", d.Name, d.Source)
}
