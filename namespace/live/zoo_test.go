package live

import (
	"maps"
	"testing"

	"farm/internal/zoo"
)

// TestZoo runs cells over many kinds of variables in one context, and beside it
// restored in a new context before every cell: items, values and errors are the
// same all the way.
func TestZoo(t *testing.T) { onEngines(t, zooKept) }

func zooKept(t *testing.T, engine string) {
	warm := newOn(t, engine, Options{})
	var cold *Context
	items := warm.Items().Clone()
	for i, src := range append(append(zoo.Declare(), zoo.Cells(1, 60)...), zoo.Check) {
		cold = newOn(t, engine, Options{})
		if err := cold.Restore(maps.Clone(items)); err != nil {
			t.Fatal(err)
		}
		w, c := mustRun(t, warm, src), mustRun(t, cold, src)
		if string(w.JSON) != string(c.JSON) {
			t.Errorf("cell %d:\n%s\nwarm: %s\ncold: %s", i, src, w.JSON, c.JSON)
		}
		sameItems(t, warm.Items(), cold.Items())
		w.Delta.Apply(items)
		if t.Failed() {
			t.Fatalf("cell %d:\n%s", i, src)
		}
	}
	if got := mustRun(t, cold, "bad"); string(got.JSON) != `""` {
		t.Errorf("not as it was: %s", got.JSON)
	}
	for _, n := range zoo.Names() {
		if _, ok := items["v/"+n]; !ok {
			t.Errorf("no variable %s", n)
		}
	}
}

// TestZooCellsSucceed proves that the cells fail for no seed, which those who
// use them count on.
func TestZooCellsSucceed(t *testing.T) { onEngines(t, zooCellsSucceed) }

func zooCellsSucceed(t *testing.T, engine string) {
	for seed := range uint64(3) {
		c := newOn(t, engine, Options{})
		for _, src := range append(append(zoo.Declare(), zoo.Cells(seed, 100)...), zoo.Check) {
			mustRun(t, c, src)
		}
		if got := mustRun(t, c, "bad"); string(got.JSON) != `""` {
			t.Errorf("seed %d: %s", seed, got.JSON)
		}
	}
}
