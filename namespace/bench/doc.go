// Package bench measures the engines of contexts against compiled Go and CPython: the same programs, in
// turn, in one run, by the processor time they take.
//
// The programs are those of package programs, which are compiled into the test and whose source the
// engines get as a cell, and their counterparts in testdata/programs.py. "make bench-engines" prints the
// table; the tests only make sure that all of them come to the same results.
package bench
