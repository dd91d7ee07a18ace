package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"farm/namespace"
	"farm/tasks"
)

// What is done to a namespace as a whole.

func (a *app) nsHistoryCommand() *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "list the versions of a namespace that are kept", UsageText: "farm ns history [flags] NS",
		Description: "The newest comes first. Each change of a namespace is a version; the last ten are kept.",
		Flags:       a.clientFlags(),
		Action: a.onFarm(1, 1, func(ctx context.Context, conn *connection, c *cli.Context, args []string) error {
			return a.runNsHistory(ctx, conn, args[0], c.Bool("json"))
		}),
	}
}

func (a *app) runNsHistory(ctx context.Context, conn *connection, name string, asJSON bool) error {
	versions, err := conn.Namespace(name).History(ctx)
	if err != nil {
		return err
	}
	t := a.io.table("VERSION", "MADE", "CHANGED", "RESTORABLE", "TASK")
	for _, v := range versions {
		if asJSON {
			if err := a.printJSON(versionJSON{v.Number, jsonTime(v.Made), v.Task, v.Changed, v.Restorable}); err != nil {
				return err
			}
			continue
		}
		t.row(v.Number, a.io.ago(v.Made), v.Changed, v.Restorable, v.Task)
	}
	if !asJSON {
		t.print()
	}
	return nil
}

func (a *app) nsRestoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "make a namespace what it was at an earlier version", UsageText: "farm ns restore --version V [flags] NS",
		Description: "It takes its turn after the tasks submitted before, and makes a new version: nothing is lost, and it can be\n" +
			"taken back in the same way. \"farm ns history\" lists the versions.",
		Flags: a.clientFlags(&cli.Uint64Flag{Name: "version", Usage: "the `VERSION` to go back to"}),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			if c.Uint64("version") == 0 {
				return usage("farm ns restore: --version is needed: one of those that farm ns history lists")
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return conn.Namespace(args[0]).Restore(ctx, c.Uint64("version"))
			})
		},
	}
}

func (a *app) nsForkCommand() *cli.Command {
	return &cli.Command{
		Name: "fork", Usage: "copy a namespace", UsageText: "farm ns fork [flags] NS NEW",
		Description: "NEW gets all that is committed in NS at that moment, at once; tasks running or queued in NS are not in it.\n" +
			"It is refused when NEW exists.",
		Flags: a.clientFlags(),
		Action: a.onFarm(2, 2, func(ctx context.Context, conn *connection, _ *cli.Context, args []string) error {
			return removeFirst(conn.Namespace(args[0]).Fork(ctx, args[1]), args[1])
		}),
	}
}

// removeFirst says what to do about a namespace that is in the way.
func removeFirst(err error, name string) error {
	if errors.Is(err, tasks.ErrConflict) {
		return fmt.Errorf("%w (farm ns rm %s removes it)", err, name)
	}
	return err
}

func (a *app) nsExportCommand() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "write a namespace to a file", UsageText: "farm ns export [flags] NS FILE",
		Description: "FILE may be - for standard output. The file has a checksum; docs/format.md tells its shape.",
		Flags:       a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 2, 2)
			if err != nil {
				return err
			}
			if args[1] == "-" && a.io.outTerm {
				return usage("farm ns export: a terminal cannot show it; give a file, or send the output elsewhere")
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return a.runNsExport(ctx, conn, args[0], args[1], c.Bool("json"))
			})
		},
	}
}

func (a *app) runNsExport(ctx context.Context, conn *connection, name, file string, asJSON bool) error {
	held, err := conn.Namespace(name).Export(ctx)
	if err != nil {
		return err
	}
	e := &namespace.Export{Name: name, Version: held.Version, Items: held.Items}
	if file == "-" {
		return e.Write(a.io.out)
	}
	size, err := writeExport(e, file)
	if err != nil {
		return fmt.Errorf("write the export: %w", err)
	}
	if asJSON {
		return a.printJSON(exportJSON{name, held.Version, len(held.Items), size, file})
	}
	a.io.talk("namespace %s, version %d, %d items, is in %s", name, held.Version, len(held.Items), file)
	return nil
}

// writeExport makes the file, and leaves none behind when that fails.
func writeExport(e *namespace.Export, file string) (size int, err error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return 0, err
	}
	err = e.Write(f)
	if err == nil {
		var at int64
		at, err = f.Seek(0, io.SeekCurrent)
		size = int(at)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, errors.Join(err, os.Remove(file))
	}
	return size, nil
}

func (a *app) nsImportCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "make a namespace from an exported file", UsageText: "farm ns import [flags] NS FILE",
		Description: "FILE may be - for standard input. It is refused when NS exists.",
		Flags:       a.clientFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 2, 2)
			if err != nil {
				return err
			}
			e, err := a.readExport(args[1])
			if err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				return removeFirst(conn.Namespace(args[0]).Import(ctx, e.Items), args[0])
			})
		},
	}
}

// readExport reads an exported file and checks what is in it, before anything
// is connected.
func (a *app) readExport(file string) (*namespace.Export, error) {
	var in io.Reader = a.io.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("%v", err)
		}
		defer f.Close()
		in = f
	}
	e, err := namespace.ReadExport(in)
	if err == nil {
		err = namespace.Validate(e.Items)
	}
	if err == nil {
		err = namespace.Check(e.Items, "")
	}
	if err != nil {
		return nil, fmt.Errorf("import %s: %w", file, err)
	}
	return e, nil
}
