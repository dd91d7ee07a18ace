package live

import (
	"maps"
	"testing"

	"farm/internal/zoo"
	ns "farm/namespace"
)

// TestZoo runs cells over many kinds of variables in one context, and beside it
// restored in a new context before every cell: items, values and errors are the
// same all the way.
func TestZoo(t *testing.T) {
	warm := New(Options{})
	var cold *Context
	items := ns.Items{}
	for i, src := range append(append(zoo.Declare(), zoo.Cells(1, 60)...), zoo.Check) {
		cold = New(Options{})
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
func TestZooCellsSucceed(t *testing.T) {
	for seed := range uint64(3) {
		c := New(Options{})
		for _, src := range append(append(zoo.Declare(), zoo.Cells(seed, 100)...), zoo.Check) {
			mustRun(t, c, src)
		}
		if got := mustRun(t, c, "bad"); string(got.JSON) != `""` {
			t.Errorf("seed %d: %s", seed, got.JSON)
		}
	}
}
