package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"farm/replica"
)

func (a *app) verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check the data folder of a node that does not run", UsageText: "farm verify [--json] DIR",
		Description: "Reads every record of the state and every entry of the log, and checks them against their checksums. When the log\n" +
			"reaches back to its first entry it is replayed from nothing, and must make the same state.",
		Flags: jsonFlags(),
		Action: func(c *cli.Context) error {
			args, err := wantArgs(c, 1, 1)
			if err != nil {
				return err
			}
			return a.verify(c.Context, args[0], c.Bool("json"))
		},
	}
}

type verifyJSON struct {
	Applied  uint64 `json:"applied" about:"last log entry in the state"`
	Hash     string `json:"hash" about:"of the state"`
	First    uint64 `json:"first" about:"log entry that is kept"`
	Last     uint64 `json:"last" about:"log entry that is kept"`
	Replayed bool   `json:"replayed" about:"whether the log reaches back to its first entry and makes the same state"`
}

func (a *app) verify(ctx context.Context, dir string, asJSON bool) error {
	v, err := replica.Verify(ctx, dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if asJSON {
		return a.printJSON(verifyJSON(*v))
	}
	how := "its log was cut and cannot be replayed from the start"
	if v.Replayed {
		how = "replaying its log from nothing makes the same state"
	}
	fmt.Fprintf(a.io.out, "sound: state %.12s after entry %d, log entries %d to %d; %s\n", v.Hash, v.Applied, v.First, v.Last, how)
	return nil
}
