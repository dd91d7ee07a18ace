package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"farm/internal/label"
	"farm/tasks"
)

func (a *app) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show the cluster: leader, nodes, workers, tasks, queues", UsageText: "farm status [flags]", Flags: a.clientFlags(),
		Action: func(c *cli.Context) error {
			if _, err := wantArgs(c, 0, 0); err != nil {
				return err
			}
			return a.with(c, func(ctx context.Context, conn *connection) error {
				s, err := conn.Status(ctx)
				if err != nil {
					return err
				}
				if c.Bool("json") {
					return a.printJSON(jsonStatus(s))
				}
				a.showStatus(s)
				return nil
			})
		},
	}
}

func (a *app) showStatus(s *tasks.Status) {
	leader := s.Leader
	if leader == "" {
		leader = "(none)"
	}
	fmt.Fprintf(a.io.out, "leader %s, term %d\n", leader, s.Term)
	t := s.Tasks
	fmt.Fprintf(a.io.out, "tasks  %d queued, %d running, %d succeeded, %d failed, %d cancelled\n\n", t.Queued, t.Running, t.Succeeded, t.Failed, t.Cancelled)
	a.nodeTable(s).print()
	fmt.Fprintln(a.io.out)
	workers := a.io.table("WORKER", "NODE", "SLOTS", "BUSY", "STATE", "ISOLATION", "HAS")
	for _, w := range s.Workers {
		workers.row(w.ID, w.Node, w.Slots, w.Busy, w.State, w.Isolation, hasText(w.Labels, w.Handlers))
	}
	workers.print()
	if len(s.Queues) > 0 {
		fmt.Fprintln(a.io.out)
		a.queueTable(s.Queues)
	}
}

// maxStatusQueues is how many queues the status of a cluster shows.
const maxStatusQueues = 20

// queueTable shows how deep queues are, the busiest first where they are many.
func (a *app) queueTable(list []*tasks.Queue) {
	shown := slices.Clone(list)
	if len(shown) > maxStatusQueues {
		slices.SortStableFunc(shown, func(x, y *tasks.Queue) int { return cmp.Compare(y.Running+y.Waiting, x.Running+x.Waiting) })
		shown = shown[:maxStatusQueues]
	}
	t := a.io.table("QUEUE", "STATE", "WAITING", "RUNNING", "DELAYED", "PARKED")
	for _, q := range shown {
		t.row(q.Name, queueState(q), q.Waiting, q.Running, q.Delayed, parkedText(q))
	}
	t.print()
	if n := len(list) - len(shown); n > 0 {
		fmt.Fprintf(a.io.out, "and %d more: farm queue ls\n", n)
	}
}

func (a *app) nodeTable(s *tasks.Status) *table {
	labels := labelsOfNodes(s)
	nodes := a.io.table("NODE", "ROLE", "VOTER", "API", "RAFT", "PID", "APPLIED", "HASH", "REACHABLE", "LABELS")
	for _, n := range s.Nodes {
		hash := n.Hash
		if len(hash) > 12 {
			hash = hash[:12]
		}
		nodes.row(n.ID, n.Role, yes(n.Voter), n.API, n.Raft, n.PID, n.Applied, hash, yes(n.Reachable), strings.Join(label.Texts(labels[n.ID]), ","))
	}
	return nodes
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
