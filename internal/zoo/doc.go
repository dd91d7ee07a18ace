// Package zoo makes cells over one namespace of many kinds of variables, for
// tests: what is asked of every kind of value at once, by tests of engines and
// by tests of whole farms.
//
// Declare gives the cells that make the namespace, Cells any number of
// different ones that read and change it, Check one that looks at what must
// hold whatever they did. All are the same for the same seed, and none fails.
// Nothing in them depends on time, chance or addresses, so the same cells give
// the same namespace wherever they run.
package zoo
