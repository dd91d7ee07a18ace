// Package differ makes small Go programs at random, for comparing engines with the Go compiler.
//
// A program is determined by the bytes it is made from. It is valid, ends, prints what it does, and does the
// same each time: its goroutines are joined and share nothing, maps are printed in order. Many programs are
// one file, so that they are compiled at once.
//
// It is for tests. It runs nothing itself.
package differ
