package main

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"farm/internal/label"
	"farm/tasks"
)

func labelFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "label", Usage: "run on a node that has the label `KEY=VALUE`, and wait while none has it; may be repeated"}
}

// labelFlags reads --label flags.
func labelFlags(verb string, c *cli.Context) (map[string]string, error) {
	labels, err := label.Parse(c.StringSlice("label"))
	if err != nil {
		return nil, usage("%s: %v", verb, err)
	}
	return some(labels), nil
}

func queueFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "queue", Usage: "put it into `QUEUE` (default: " + tasks.DefaultQueue + ")", Destination: to}
}

func keyFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "key", Usage: "`KEY` that the queue's limits per key count by", Destination: to}
}

// uniqueFlags reads --unique-while.
func uniqueFlags(verb string, c *cli.Context, u *tasks.Unique) error {
	long := c.String("unique-while")
	switch {
	case long == "":
		return nil
	case u.Key == "":
		return usage("%s: --unique-while goes with --unique", verb)
	case long == string(tasks.WhileQueued), long == string(tasks.WhileRunning):
		u.While = tasks.While(long)
		return nil
	}
	d, err := time.ParseDuration(long)
	if err != nil || d <= 0 {
		return usage("%s: --unique-while %q: queued, running, or a time such as 1h", verb, long)
	}
	u.For = d
	return nil
}

// tellDuplicate says that nothing was submitted.
func (a *app) tellDuplicate(h *tasks.Submitted) {
	if h.Duplicate {
		a.io.talk("duplicate of task %s, which has the unique key", h.ID)
	}
}

// some is nil for an empty map, so that it is left out of JSON.
func some(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// hasText is what a worker has, in a table.
func hasText(labels map[string]string, handlers []string) string {
	texts := label.Texts(labels)
	for _, h := range handlers {
		texts = append(texts, "handler "+h)
	}
	return strings.Join(texts, ",")
}

// labelsOfNodes are those of the nodes' workers.
func labelsOfNodes(s *tasks.Status) map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, w := range s.Workers {
		if w.Node != "" {
			out[w.Node] = some(w.Labels)
		}
	}
	return out
}
