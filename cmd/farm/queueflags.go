package main

import (
	"strings"

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
