package vm

import (
	"go/token"
	"testing"

	"farm/namespace/typeinfo"
	"farm/namespace/vm/stdlib"
)

// TestSourcesWithoutTypesWait: to check package slices takes longer than all else that a new process does
// before its first cell.
func TestSourcesWithoutTypesWait(t *testing.T) {
	sources, err := stdlib.Sources()
	if err != nil {
		t.Fatal(err)
	}
	im, err := NewImporter(token.NewFileSet(), typeinfo.Export, sources)
	if err != nil {
		t.Fatal(err)
	}
	if im.parsed["iter"] == nil || im.parsed["cmp"] == nil || im.parsed["slices"] != nil {
		t.Error("what other packages refer to must be there first, and nothing else")
	}
	other, err := im.Import("strings")
	if err != nil {
		t.Fatal(err)
	}
	p, err := im.Import("slices")
	if err != nil || im.parsed["slices"] == nil || p.Scope().Lookup("SortFunc") == nil {
		t.Fatal("slices is not made from source:", err)
	}
	for _, q := range append(other.Imports(), p.Imports()...) {
		if q.Path() == "iter" && q != im.pkgs["iter"] {
			t.Error("there are two packages iter")
		}
	}
}
