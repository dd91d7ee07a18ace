package main

import (
	"path"
	"testing"

	"farm/chaos"
)

// Every mutation still fits the source, and what all of them together make of it
// compiles.
func TestMutationsApply(t *testing.T) {
	t.Chdir("../..")
	all := mutation{name: "all"}
	build := []string{"build"}
	for _, m := range mutations {
		if _, ok := chaos.Find(m.scenario); !ok {
			t.Errorf("%s: there is no scenario %q", m.name, m.scenario)
		}
		if _, err := m.apply("."); err != nil {
			t.Error(err)
		}
		all.edits = append(all.edits, m.edits...)
		for _, e := range m.edits {
			build = append(build, "./"+path.Dir(e.file))
		}
	}
	if err := all.build(t.TempDir(), build...); err != nil {
		t.Error(err)
	}
}
