package zoo

import (
	"slices"
	"testing"
)

func TestSameSeedSameCells(t *testing.T) {
	a, b, c := Cells(1, 300), Cells(1, 300), Cells(2, 300)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("cells do not follow from the seed")
	}
	slices.Sort(a)
	if len(slices.Compact(a)) != 300 {
		t.Error("a cell comes twice")
	}
}

func TestNames(t *testing.T) {
	if n := Names(); len(n) < 50 || !slices.Contains(n, "shape") || !slices.Contains(n, "none") || slices.Contains(n, "first") {
		t.Errorf("%d names: %v", len(n), n)
	}
}
