// Package layout holds the test that keeps farm's imports in one direction. It
// has no code: the table in layout_test.go says for each package what of farm
// it may import, and for each outside module who may use it. A new package or
// dependency fails the test until it has its place in the table.
package layout
