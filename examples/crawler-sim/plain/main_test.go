package main

import "testing"

// The web is the one whose answer the README and the test of all examples have.
func TestWalk(t *testing.T) {
	if pages, dead, words := walk(); pages != 354 || dead != 33 || words != 49225 {
		t.Errorf("%d pages, %d dead, %d words", pages, dead, words)
	}
}
