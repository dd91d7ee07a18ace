package main

import (
	"bytes"
	"os"
	"testing"
)

// The committed texts are what the committed generator writes, so that anybody
// can check where they come from.
func TestTextsAreGenerated(t *testing.T) {
	want, err := os.ReadFile("../texts.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := write(&got, defaultSeed, defaultSize); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Fatal("texts.jsonl is not what the generator writes: run go generate ./examples/...")
	}
	if n := len(want); n < 2_000_000 || n > 4_000_000 {
		t.Fatalf("texts.jsonl has %d bytes, it should have 2 to 4 million", n)
	}
}

func TestInflection(t *testing.T) {
	for in, want := range map[string]string{"carry": "carried", "destroy": "destroyed", "measure": "measured", "cross": "crossed"} {
		if got := past(in); got != want {
			t.Errorf("past(%q) = %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"story": "stories", "journey": "journeys", "watch": "watches", "tide": "tides"} {
		if got := plural(in); got != want {
			t.Errorf("plural(%q) = %q, want %q", in, got, want)
		}
	}
}

// Zipf's law: rank r gets its share of 1/(r+flat), and the last word its turn.
func TestPickFollowsTheRanks(t *testing.T) {
	words := []string{"first", "second", "third", "fourth"}
	g := newGrammar(7)
	counts := map[string]int{}
	r := rank(words)
	const draws = 100_000
	for range draws {
		counts[r.pick(g.rng)]++
	}
	total := 1.0/3 + 1.0/4 + 1.0/5 + 1.0/6
	for i, w := range words {
		want := draws / float64(i+flat) / total
		if got := float64(counts[w]); got < 0.95*want || got > 1.05*want {
			t.Errorf("%q was drawn %.0f times, expected about %.0f", w, got, want)
		}
	}
}
