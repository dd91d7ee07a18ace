// Command sweep computes the bifurcation diagram of the logistic map x → r·x·(1-x):
// for each of many r, where x settles. Each r is a computation of its own, so they are
// scattered over namespaces, computed in all of them at the same time, gathered in
// order and drawn.
//
// It brings its own farm, in a folder: started again with the same folder it finds
// what was computed, and draws at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"farm/embedded"
	"farm/tasks"
)

func main() {
	embedded.Main() // first: cells run in children of this program
	o := options{}
	flag.StringVar(&o.dir, "dir", "sweep.farm", "folder of the farm")
	flag.StringVar(&o.out, "out", "sweep.svg", "file to draw to")
	flag.IntVar(&o.steps, "steps", 200, "how many r there are between 2.8 and 4")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := sweep(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "sweep:", err)
		os.Exit(1)
	}
}

type options struct {
	dir, out string
	steps    int
}

// orbit is where x settles for one r.
type orbit struct {
	R  float64
	Xs []float64
}

// program is what each namespace is given: the function, and what it found. It is
// Go source that is sent to the farm, so it cannot use what this file declares.
const program = `
type Orbit struct {
	R  float64
	Xs []float64
}

var orbits []Orbit

// settle lets x forget where it came from and returns the values it then takes.
func settle(r float64) Orbit {
	x := 0.5
	for i := 0; i < 500; i++ {
		x = r * x * (1 - x)
	}
	o := Orbit{R: r}
	for i := 0; i < 60; i++ {
		x = r * x * (1 - x)
		o.Xs = append(o.Xs, x)
	}
	return o
}
`

// compute settles the part of rs that a namespace was given.
const compute = `
orbits = nil
for _, r := range rs {
	orbits = append(orbits, settle(r))
}
`

func sweep(ctx context.Context, o options) (err error) {
	farm, err := embedded.Open(ctx, o.dir, embedded.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, farm.Close()) }()

	client := farm.Client()
	view := client.View("sweep0", "sweep1", "sweep2", "sweep3")
	orbits, err := computed(ctx, client, view, o.steps)
	if err != nil {
		return err
	}
	fmt.Printf("%d values of r, %d points\n", len(orbits), points(orbits))
	for _, r := range []float64{3.2, 3.5, 3.83} {
		fmt.Printf("at r = %.2f x takes %d values\n", r, distinct(nearest(orbits, r)))
	}
	return draw(orbits, o.out)
}

// computed is the orbits of a sweep: those of an earlier run, if it had as many steps.
func computed(ctx context.Context, client *tasks.Client, view *tasks.View, steps int) ([]orbit, error) {
	had := 0
	err := client.Namespace("sweep").Get(ctx, "steps", &had)
	if err == nil && had == steps {
		fmt.Println("computed before")
		return tasks.Gather[orbit](ctx, view, "orbits")
	}
	if err != nil && !errors.Is(err, tasks.ErrNotFound) {
		return nil, err
	}
	rs := make([]float64, steps)
	for i := range rs {
		rs[i] = 2.8 + 1.2*float64(i)/float64(max(steps-1, 1))
	}
	if _, err := view.Exec(ctx, program); err != nil {
		return nil, err
	}
	if err := tasks.Scatter(ctx, view, "rs", rs); err != nil {
		return nil, err
	}
	if _, err := view.Exec(ctx, compute); err != nil {
		return nil, err
	}
	orbits, err := tasks.Gather[orbit](ctx, view, "orbits")
	if err != nil {
		return nil, err
	}
	return orbits, client.Namespace("sweep").Set(ctx, "steps", steps)
}
