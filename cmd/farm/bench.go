package main

import "github.com/urfave/cli/v2"

func (a *app) benchCommand() *cli.Command { return &cli.Command{Name: "bench"} }
