package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"text/template"

	"github.com/urfave/cli/v2"

	"farm/internal/cluster"
	"farm/namespace"
	"farm/replica"
	"farm/tasks"
)

// Exit codes. They are part of what scripts rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitRefused     = 4
	exitInterrupted = 130
	exitNoReader    = 141 // as of a program that SIGPIPE ended
)

// app is one run of the command.
type app struct {
	io streams
	// connect gives a client for an --addr. Tests put another in its place.
	connect func(ctx context.Context, addr string) (*connection, error)
	// running is connect for those that start no farm: for completion.
	running func(ctx context.Context, addr string) (*connection, error)
	// template is what -o said; nil: JSON is printed as it is.
	template *template.Template
	// interrupts is who hears Ctrl-C instead of the command as a whole; see onInterrupt.
	interrupts atomic.Pointer[func()]
}

// connection is a client, and what ends with it.
type connection struct {
	*tasks.Client
	release func()
	local   bool // to a farm that ends with this command
}

func (c *connection) close() {
	_ = c.Client.Close() // it only ends what is still under way
	if c.release != nil {
		c.release()
	}
}

// usageError is wrong usage.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errSilent is a failure that was told already.
var errSilent = errors.New("failed")

// run carries out a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	err := a.cli(args).RunContext(ctx, args)
	if lost := context.Cause(ctx); errors.Is(lost, errOutput) {
		err = lost // what else went wrong did for that reason
	}
	code := exitCode(ctx, err)
	if err != nil && !errors.Is(err, errSilent) && code != exitNoReader {
		if code == exitInterrupted {
			a.io.talk("interrupted")
		} else {
			a.io.talk("%s", err)
		}
	}
	return code
}

// exitCode says how a command that ended with err ends the process.
func exitCode(ctx context.Context, err error) int {
	var wrong *usageError
	var unknownTopic cli.ExitCoder // what "farm help" ends with
	var task *tasks.TaskError
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(context.Cause(ctx), errInterrupted):
		return exitInterrupted
	case errors.Is(err, errOutput) && errors.Is(err, syscall.EPIPE):
		return exitNoReader
	case errors.As(err, &wrong), errors.As(err, &unknownTopic), is(tasks.ErrInvalid, errTemplate, replica.ErrConfig, replica.ErrNodeID):
		return exitUsage
	case errors.As(err, &task):
		if task.Kind == "not-allowed" || task.Kind == "limit" || task.Kind == "conflict" {
			return exitRefused
		}
		return exitFailed
	case is(tasks.ErrUnavailable, tasks.ErrTimeout, replica.ErrJoin):
		return exitUnreachable
	case is(tasks.ErrLimit, tasks.ErrConflict, replica.ErrDataInUse, replica.ErrNewerFormat, cluster.ErrInUse, cluster.ErrNodes, cluster.ErrPort,
		namespace.ErrNotExport, namespace.ErrNewerExport, namespace.ErrCorrupt), refused(err):
		return exitRefused
	}
	return exitFailed
}

// refused tells errors that are types and mean "refused".
func refused(err error) bool {
	var notAllowed *namespace.NotAllowedError
	var limit *namespace.LimitError
	return errors.As(err, &notAllowed) || errors.As(err, &limit)
}

// flagText is a flag in a help text. The library's own would tell that a
// number not given is 0.
func flagText(f cli.Flag) string {
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	names := make([]string, len(f.Names()))
	for i, name := range f.Names() {
		names[i] = strings.Repeat("-", min(len(name), 2)) + name
	}
	text, usage := strings.Join(names, ", "), doc.GetUsage()
	if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 && doc.TakesValue() {
		text += " " + parts[1]
		usage = parts[0] + parts[1] + parts[2]
	} else if doc.TakesValue() {
		text += " N"
	}
	switch d := doc.GetDefaultText(); d {
	case "", "0", "0s", "false", `""`:
	default:
		usage += " (default: " + strings.Trim(d, `"`) + ")"
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		usage += " [$" + strings.Join(env, ", $") + "]"
	}
	return text + "\t" + usage
}

// cli describes the command line.
func (a *app) cli(args []string) *cli.App {
	cli.FlagStringer = flagText
	c := &cli.App{
		Name:            "farm",
		Usage:           "run Go code on many machines, and keep its state",
		UsageText:       "farm VERB [flags] [args]",
		Description:     description,
		HideVersion:     true,
		HideHelpCommand: false,
		Writer:          a.io.out,
		ErrWriter:       a.io.err,
		ExitErrHandler:  func(*cli.Context, error) {},
		Commands: []*cli.Command{
			a.devCommand(), a.nodeCommand(),
			a.submitCommand(), a.execCommand(), a.replCommand(), a.mapCommand(),
			a.setCommand(), a.getCommand(), a.delCommand(), a.scatterCommand(), a.gatherCommand(), a.nsCommand(),
			a.taskCommand(), a.logsCommand(), a.jobCommand(), a.queueCommand(), a.cronCommand(), a.statusCommand(),
			a.benchCommand(), a.chaosCommand(), a.verifyCommand(), a.completionCommand(), a.completeCommand(), a.versionCommand(),
		},
		Action: a.unknownVerb("farm"),
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usage("%v (flags go after the verb: farm VERB [flags] [args])", err)
		},
	}
	for _, cmd := range c.Commands {
		a.prepare("", cmd, args)
	}
	return c
}

const description = `Without --addr or FARM_ADDR a command uses the farm that "farm dev" runs in this
folder; when there is none, it starts one of three local nodes for as long as it
takes, with its data in .farm.

Exit codes: 0 done, 1 failed or not found, 2 wrong usage, 3 not reached or no
answer in time, 4 refused (a limit, not allowed, a conflict), 130 interrupted, 141 output that
nobody read on.`

// prepare gives a command the checks that all have.
func (a *app) prepare(parent string, cmd *cli.Command, args []string) {
	path := strings.TrimSpace(parent + " " + cmd.Name)
	cmd.Description = withExamples(path, cmd.Description)
	cmd.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return flagError(path, cmd.Flags, err)
	}
	if len(cmd.Subcommands) > 0 {
		for _, sub := range cmd.Subcommands {
			a.prepare(path, sub, args)
		}
		if cmd.Action == nil {
			cmd.Action = a.unknownVerb(path)
			return
		}
	}
	// Without this, a namespace called "help" could not be given.
	cmd.HideHelpCommand = true
	if !cmd.SkipFlagParsing {
		cmd.Action = guard(path, args, a.templated(path, cmd.Action))
	}
}

// flagError says what is wrong with the flags of a verb, and what was probably meant.
func flagError(path string, flags []cli.Flag, err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return usage("%s: %v", path, err)
	}
	name = strings.TrimLeft(name, "-")
	hint := ""
	if s := cli.SuggestFlag(flags, name, true); s != "" {
		hint = fmt.Sprintf("; did you mean %s?", s)
	}
	return usage("%s has no flag %s%s", path, strings.Repeat("-", min(len(name), 2))+name, hint)
}

// templated takes -o, for all commands that have it: what it prints is what --json
// would print, told in another way.
func (a *app) templated(path string, next cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if !c.IsSet("o") {
			return next(c)
		}
		t, err := parseTemplate(c.String("o"))
		if err != nil {
			return usage("%s: -o: %v", path, err)
		}
		a.template = t
		if err := c.Set("json", "true"); err != nil {
			return err
		}
		return next(c)
	}
}

// unknownVerb answers a word that is no verb, and shows help when there is none.
func (a *app) unknownVerb(path string) cli.ActionFunc {
	return func(c *cli.Context) error {
		word := c.Args().First()
		if word == "" {
			if c.Command.Name == "farm" || path == "farm" {
				return cli.ShowAppHelp(c)
			}
			return cli.ShowSubcommandHelp(c)
		}
		commands := c.App.Commands
		if path != "farm" {
			commands = c.Command.Subcommands
		}
		return usage("%s has no verb %q%s", path, word, suggest(commands, word))
	}
}

// suggest finds the verb that was probably meant.
func suggest(commands []*cli.Command, word string) string {
	// The library answers with a sentence around the name.
	commands = slices.DeleteFunc(slices.Clone(commands), func(c *cli.Command) bool { return c.Hidden })
	parts := strings.Split(cli.SuggestCommand(commands, word), `"`)
	if len(parts) < 3 || parts[1] == "help" || parts[1] == "h" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", parts[1])
}

// guard refuses arguments that look like flags. The flag parser stops at the
// first argument, so that a flag after it would be taken for an argument and
// silently do nothing. A number is no flag, "-" is a name for standard input,
// and after "--" anything goes.
func guard(path string, raw []string, next cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		args := c.Args().Slice()
		if i := len(raw) - len(args) - 1; i >= 0 && raw[i] == "--" {
			return next(c)
		}
		for _, arg := range args {
			if len(arg) > 1 && arg[0] == '-' && (arg[1] < '0' || arg[1] > '9') {
				return usage("%s: %q comes after the arguments; flags go before them (put -- before arguments that begin with a dash)", path, arg)
			}
		}
		return next(c)
	}
}

// wantArgs checks the number of arguments.
func wantArgs(c *cli.Context, least, most int) ([]string, error) {
	args := c.Args().Slice()
	if len(args) < least || most >= 0 && len(args) > most {
		return nil, usage("usage: farm %s", strings.TrimPrefix(c.Command.UsageText, "farm "))
	}
	return args, nil
}

// Flags that client commands have.
func (a *app) clientFlags(more ...cli.Flag) []cli.Flag {
	return append(a.addrFlags(more...), jsonFlags()...)
}

// addrFlags are for commands whose data is JSON anyway.
func (a *app) addrFlags(more ...cli.Flag) []cli.Flag { return append(more, addrFlag()) }

func jsonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print JSON, one object per line"},
		&cli.StringFlag{Name: "o", Usage: "print each object through a Go `TEMPLATE` over the fields of --json"},
	}
}

// addrEnv is the variable that stands for --addr.
const addrEnv = "FARM_ADDR"

func addrFlag() cli.Flag {
	return &cli.StringFlag{Name: "addr", Usage: "`ADDRESSES` of nodes, any of them, separated by commas", EnvVars: []string{addrEnv}}
}

// with connects and calls fn.
func (a *app) with(c *cli.Context, fn func(ctx context.Context, conn *connection) error) error {
	conn, err := a.connect(c.Context, c.String("addr"))
	if err != nil {
		return err
	}
	defer conn.close()
	return fn(c.Context, conn)
}

// onFarm is the action of a verb that takes least to most arguments, any number when
// most is negative, and does something with a farm.
func (a *app) onFarm(least, most int, do func(ctx context.Context, conn *connection, c *cli.Context, args []string) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		args, err := wantArgs(c, least, most)
		if err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, conn *connection) error { return do(ctx, conn, c, args) })
	}
}

// show prints something as JSON where that is asked for, and otherwise calls text.
func (a *app) show(c *cli.Context, object any, text func()) error {
	if c.Bool("json") {
		return a.printJSON(object)
	}
	text()
	return nil
}
