// Package loganalysis reads lines of a web server's log, each on whichever worker is
// free, and adds up what they say in a namespace, where it can be asked about.
package loganalysis

import (
	"fmt"
	"sort"
	"strings"
)

// Hit is what one line says.
type Hit struct {
	Minute string
	Path   string
	Status int
	Bytes  int
	Millis int
}

// Parse reads a line: "12:00:59 GET /cart 200 1234 17".
func Parse(line string) (Hit, error) {
	var h Hit
	var clock, method string
	if n, err := fmt.Sscanf(line, "%s %s %s %d %d %d", &clock, &method, &h.Path, &h.Status, &h.Bytes, &h.Millis); err != nil {
		return h, fmt.Errorf("field %d of %q: %w", n+1, line, err)
	}
	h.Minute = clock[:strings.LastIndex(clock, ":")]
	return h, nil
}

// Tally is what is known of one path.
type Tally struct {
	Hits, Errors int
	Bytes        int
	Slowest      int
	Times        map[int]int // hits by 50 ms
}

// What has been added up.
var (
	paths   = map[string]*Tally{}
	minutes = map[string]int{} // errors of the server
	hits    int
)

// Summary is what Add answers.
type Summary struct {
	Hits, Errors int
}

// Add adds one line.
func Add(h Hit) Summary {
	hits++
	t := paths[h.Path]
	if t == nil {
		t = &Tally{Times: map[int]int{}}
		paths[h.Path] = t
	}
	t.Hits++
	t.Bytes += h.Bytes
	t.Times[h.Millis/50]++
	if h.Millis > t.Slowest {
		t.Slowest = h.Millis
	}
	if h.Status >= 500 {
		t.Errors++
		minutes[h.Minute]++
	}
	s := Summary{Hits: hits}
	for _, t := range paths {
		s.Errors += t.Errors
	}
	return s
}

// within is the time, in milliseconds, within which that part of the hits of a path
// was answered, to the next 50.
func within(t *Tally, percent int) int {
	left := (t.Hits*percent + 99) / 100
	slot := 0
	for ; left > t.Times[slot]; slot++ {
		left -= t.Times[slot]
	}
	return 50 * (slot + 1)
}

// Report prints a table of the paths, the most errors first.
func Report() {
	names := []string{}
	for name := range paths {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := paths[names[i]], paths[names[j]]
		if a.Errors != b.Errors {
			return a.Errors > b.Errors
		}
		return names[i] < names[j]
	})
	fmt.Printf("%-15s %6s %6s %9s %9s\n", "PATH", "HITS", "ERRORS", "95% IN MS", "SLOWEST")
	for _, name := range names {
		t := paths[name]
		fmt.Printf("%-15s %6d %6d %9d %9d\n", name, t.Hits, t.Errors, within(t, 95), t.Slowest)
	}
}

// Trouble is the minutes in which the server failed, in order.
func Trouble() []string {
	out := []string{}
	for m, n := range minutes {
		out = append(out, fmt.Sprintf("%s %d", m, n))
	}
	sort.Strings(out)
	return out
}
