package tasks

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// MaxView is the most namespaces that one View may have.
const MaxView = 10_000

// Select returns a view of the namespaces that a selection means: names, globs
// and ranges, separated by commas. A glob ('*', '?', '[a-c]') stands for the
// namespaces that exist and match it, in the order in which people count (c2
// before c10); it must match one. A range, c{0..3} or c{00..11}, stands for
// all its names, whether they exist or not; a range with a glob, c{0..3}*, for
// a glob each. A name that is meant twice counts once. Errors, among others:
// ErrInvalid for what is no selection, ErrNotFound, ErrLimit.
func (c *Client) Select(ctx context.Context, selection string) (*View, error) {
	patterns, err := patterns(selection)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range patterns {
		if !strings.ContainsAny(p, "*?[") {
			names = append(names, p)
			continue
		}
		list, err := c.Namespaces(ctx, p)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("%w: no namespace matches %q", ErrNotFound, p)
		}
		matched := make([]string, len(list))
		for i, n := range list {
			matched[i] = n.Name
		}
		slices.SortFunc(matched, compareCounted)
		names = append(names, matched...)
	}
	v := c.View(names...)
	if len(v.names) > MaxView {
		return nil, fmt.Errorf("%w: %q means %d namespaces, at most %d can be used as one", ErrLimit, selection, len(v.names), MaxView)
	}
	return v, nil
}

// IsSelection tells whether Select takes s for more than the name of one
// namespace, however many that may be now.
func IsSelection(s string) bool { return strings.ContainsAny(s, ",*?[{}") }

// patterns takes a selection apart into names and globs.
func patterns(selection string) ([]string, error) {
	var out []string
	for part := range strings.SplitSeq(selection, ",") {
		if part == "" {
			return nil, fmt.Errorf("%w: %q is not a list of namespaces", ErrInvalid, selection)
		}
		names, err := expand(part)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if _, err := path.Match(n, ""); err != nil {
				return nil, fmt.Errorf("%w: %q is not a pattern", ErrInvalid, part)
			}
		}
		if out = append(out, names...); len(out) > MaxView {
			return nil, fmt.Errorf("%w: %q means more than %d namespaces", ErrLimit, selection, MaxView)
		}
	}
	return out, nil
}

// expand writes the ranges of a pattern out, the last counting fastest.
func expand(pattern string) ([]string, error) {
	before, rest, found := strings.Cut(pattern, "{")
	inside, after, closed := strings.Cut(rest, "}")
	if strings.Contains(before, "}") || found && !closed {
		return nil, fmt.Errorf("%w: %q has a brace without its other one", ErrInvalid, pattern)
	}
	if !found {
		return []string{pattern}, nil
	}
	numbers, err := rangeOf(inside)
	if err != nil {
		return nil, err
	}
	tails, err := expand(after)
	if err != nil {
		return nil, err
	}
	if len(numbers)*len(tails) > MaxView {
		return nil, fmt.Errorf("%w: %q means more than %d namespaces", ErrLimit, pattern, MaxView)
	}
	out := make([]string, 0, len(numbers)*len(tails))
	for _, n := range numbers {
		for _, t := range tails {
			out = append(out, before+n+t)
		}
	}
	return out, nil
}

// rangeOf writes out "0..3" or, with leading zeros, "00..11"; "3..0" counts
// down.
func rangeOf(s string) ([]string, error) {
	from, to, ok := strings.Cut(s, "..")
	a, err1 := strconv.ParseUint(from, 10, 32)
	b, err2 := strconv.ParseUint(to, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return nil, fmt.Errorf("%w: {%s} is not a range: {0..3}", ErrInvalid, s)
	}
	width := 0
	if from[0] == '0' && len(from) > 1 || to[0] == '0' && len(to) > 1 {
		width = max(len(from), len(to))
	}
	if n := max(a, b) - min(a, b) + 1; n > MaxView {
		return nil, fmt.Errorf("%w: {%s} has %d numbers, at most %d namespaces can be used as one", ErrLimit, s, n, MaxView)
	}
	var out []string
	for i := a; ; {
		out = append(out, fmt.Sprintf("%0*d", width, i))
		switch {
		case i == b:
			return out, nil
		case i < b:
			i++
		default:
			i--
		}
	}
}

// compareCounted orders names as people count: runs of digits by their value.
// Then a glob and the range it could be written as mean the same order, and
// what was scattered over one is gathered from the other.
func compareCounted(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			dx, dy := strings.TrimLeft(x[:nx], "0"), strings.TrimLeft(y[:ny], "0")
			if len(dx) != len(dy) {
				return len(dx) - len(dy)
			}
			if c := strings.Compare(dx, dy); c != 0 {
				return c
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(a, b) // equal but for leading zeros
}

// digits is how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
