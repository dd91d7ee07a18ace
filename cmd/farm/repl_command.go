package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"farm/namespace"
	"farm/tasks"
)

// errQuit is the end of a prompt.
var errQuit = errors.New("quit")

// replCommands are the commands of a prompt, in the order in which :help shows them.
var replCommands = []struct {
	name, arg, does string
	run             func(r *repl, ctx context.Context, arg string) error
}{
	{":vars", "", "the variables, with type and size", (*repl).vars},
	{":decls", "", "imports, types, functions and constants, as Go", (*repl).decls},
	{":type", "NAME", "what a name is: x, f, T, strings.Cut, x.field", (*repl).typeOf},
	{":undo", "", "back to the version before the last change; again: further back", (*repl).undo},
	{":quit", "", "leave, as Ctrl-D does", func(*repl, context.Context, string) error { return errQuit }},
}

// command carries out a command. Every beginning of its name that fits no other will do.
func (r *repl) command(ctx context.Context, text string) error {
	name, arg, _ := strings.Cut(text, " ")
	arg = strings.TrimSpace(arg)
	if name == ":help" || name == ":h" || name == ":" || name == ":?" {
		r.help()
		return nil
	}
	for _, c := range replCommands {
		if !strings.HasPrefix(c.name, name) {
			continue
		}
		if (arg == "") != (c.arg == "") {
			return usage("usage: %s", strings.TrimSpace(c.name+" "+c.arg))
		}
		defer r.patiently()()
		err := c.run(r, ctx, arg)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return usage("there is no command %s; :help lists them", name)
}

func (r *repl) help() {
	fmt.Fprint(r.a.io.out, `A line of Go runs when its brackets and strings are closed; an empty line ends
a cell anyway. What is pasted runs at the next Enter.
Tab completes. Ctrl-C cancels a cell or drops what is typed, Ctrl-D leaves.
`)
	for _, c := range replCommands {
		fmt.Fprintf(r.a.io.out, "  %-11s %s\n", strings.TrimSpace(c.name+" "+c.arg), c.does)
	}
}

// show describes the namespace; one that does not exist is empty.
func (r *repl) show(ctx context.Context) (*tasks.NamespaceInfo, error) {
	defer r.patiently()()
	info, err := r.ns.Show(ctx)
	if errors.Is(err, tasks.ErrNotFound) {
		return &tasks.NamespaceInfo{Name: r.ns.Name()}, nil
	}
	return info, err
}

func (r *repl) vars(ctx context.Context, _ string) error {
	info, err := r.show(ctx)
	if err != nil {
		return err
	}
	t := r.a.io.table("VARIABLE", "TYPE", "BYTES", "CHANGED IN")
	for _, v := range info.Variables {
		t.row(v.Name, v.Type, v.Bytes, v.Version)
	}
	if len(info.Variables) > 0 {
		t.print()
	}
	return nil
}

func (r *repl) decls(ctx context.Context, _ string) error {
	info, err := r.show(ctx)
	if err != nil {
		return err
	}
	for _, d := range info.Declarations {
		fmt.Fprintln(r.a.io.out, declarationText(d))
	}
	return nil
}

func (r *repl) typeOf(ctx context.Context, name string) error {
	items, err := r.ns.Items(ctx)
	if err != nil && !errors.Is(err, tasks.ErrNotFound) {
		return err
	}
	names, err := namespace.NewNames(items)
	if err != nil {
		return err
	}
	what := names.Describe(name)
	if what == "" {
		return fmt.Errorf("%w: nothing is called %s here", tasks.ErrNotFound, name)
	}
	fmt.Fprintln(r.a.io.out, what)
	return nil
}

// undo goes back by one version. That makes a version of its own; the next undo
// goes on from the one before that which it brought back.
func (r *repl) undo(ctx context.Context, _ string) error {
	info, err := r.show(ctx)
	if err != nil {
		return err
	}
	from := info.Version
	for of, ok := r.undone[from]; ok; of, ok = r.undone[from] {
		from = of
	}
	if from <= 1 { // nothing came before the first version
		return fmt.Errorf("%w: there is nothing to undo", tasks.ErrNotFound)
	}
	if err := r.back.Restore(ctx, from-1); err != nil {
		return err
	}
	r.names = nil
	after, err := r.show(ctx)
	if err != nil {
		return err
	}
	if after.Version == info.Version+1 { // nobody else changed it meanwhile
		r.undone[after.Version] = from - 1
	}
	r.a.io.talk("back to version %d (now version %d)", from-1, after.Version)
	return nil
}
