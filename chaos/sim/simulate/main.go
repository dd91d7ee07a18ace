// Command simulate searches for a history that breaks a promise of farm's, in
// simulated time, for as long as it is told: see package sim. It prints the seed
// first. It exits with 1, and the transcript of the shortest failing history it
// could find, when a promise is broken; with a transcript as argument it runs
// that one history and prints what happens.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"farm/chaos/sim"
)

func main() {
	seconds := flag.Int("seconds", 60, "how long to search")
	seed := flag.Uint64("seed", 0, "the first history's; 0 picks one")
	limit := flag.Int("histories", 0, "stop after so many; 0: only by time")
	parallel := flag.Int("parallel", 1, "histories at a time")
	shrink := flag.Int("shrink", 60, "seconds a failing history may be cut down")
	keep := flag.String("keep", "", "file for the transcript of a failing history")
	flag.Parse()
	if flag.NArg() > 0 {
		os.Exit(again(flag.Args()))
	}
	debug.SetGCPercent(400) // histories are small and many
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano()) % 1_000_000_000
	}
	fmt.Printf("seed %d\n", *seed)
	f := sim.Search{Seed: *seed, For: time.Duration(*seconds) * time.Second, Limit: *limit, Parallel: *parallel, Shrink: time.Duration(*shrink) * time.Second}.Run()
	f.Report(os.Stdout)
	if f.Failed == nil {
		return
	}
	if *keep != "" {
		if err := os.WriteFile(*keep, []byte(sim.Transcript(f.Failed)), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(1)
}

// again runs transcripts and returns the exit code.
func again(files []string) int {
	code := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		var p *sim.Plan
		if err == nil {
			p, err = sim.Parse(string(b))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		h := sim.Run(p, true)
		fmt.Printf("%s\n%s\n", name, strings.Join(h.Trace, "\n"))
		if h.Err != nil {
			code = 1
		}
	}
	return code
}
