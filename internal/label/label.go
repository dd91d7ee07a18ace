// Package label is how labels of nodes are written: KEY=VALUE for people, and as
// one of the things that a worker has and a task needs, which are compared as
// text. It knows nothing of who has them.
package label

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Handler is how a compiled handler begins among the things that are needed; its
// name follows.
const Handler = "handler:"

// prefix is how a label begins there.
const prefix = "label:"

// Limits of one label.
const (
	MaxKey   = 128 // bytes: letters, digits, '.', '_', '-' and '/'
	MaxValue = 128 // bytes: anything but spaces, commas and control characters
)

// Check says whether key and value can be a label.
func Check(key, value string) error {
	name := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-/", r)
	}
	if key == "" || len(key) > MaxKey || strings.ContainsFunc(key, func(r rune) bool { return !name(r) }) {
		return fmt.Errorf("label %q: a key has 1 to %d letters, digits, '.', '_', '-' and '/'", key, MaxKey)
	}
	if value == "" || len(value) > MaxValue || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }) {
		return fmt.Errorf("label %s: %q is no value: 1 to %d bytes without spaces and commas", key, value, MaxValue)
	}
	return nil
}

// Parse reads labels written as KEY=VALUE, each key once.
func Parse(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range list {
		k, v, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("label %q is not KEY=VALUE", text)
		}
		if err := Check(k, v); err != nil {
			return nil, err
		}
		if _, twice := out[k]; twice {
			return nil, fmt.Errorf("label %s is given twice", k)
		}
		out[k] = v
	}
	return out, nil
}

// Things are labels as what a worker has or a task needs, sorted.
func Things(labels map[string]string) []string {
	out := make([]string, 0, len(labels))
	for k, v := range labels {
		out = append(out, prefix+k+"="+v)
	}
	slices.Sort(out)
	return out
}

// Split tells the labels and the handlers among things.
func Split(things []string) (labels map[string]string, handlers []string) {
	labels = map[string]string{}
	for _, t := range things {
		if text, ok := strings.CutPrefix(t, prefix); ok {
			k, v, _ := strings.Cut(text, "=")
			labels[k] = v
		} else if name, ok := strings.CutPrefix(t, Handler); ok {
			handlers = append(handlers, name)
		}
	}
	return labels, handlers
}

// Texts are labels as KEY=VALUE, by key.
func Texts(labels map[string]string) []string {
	out := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return out
}
