package sim_test

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"farm/chaos/sim"
)

var (
	seed    = flag.Uint64("seed", 1, "the first history of TestSearch")
	seconds = flag.Int("seconds", 8, "how long TestSearch searches")
)

// TestSearch: no promise is broken in any history there is time for.
func TestSearch(t *testing.T) {
	t.Logf("seed %d", *seed)
	f := sim.Search{Seed: *seed, For: time.Duration(*seconds) * time.Second, Shrink: 30 * time.Second}.Run()
	var b strings.Builder
	f.Report(&b)
	t.Log(b.String())
	if f.Failed != nil {
		t.Fail()
	}
	if s := f.Stats; s.Faults == 0 || s.Crashes == 0 || s.Refused == 0 || s.Losses == 0 || s.Spawned == 0 || s.Snoozed == 0 || s.Revived == 0 || s.Resized == 0 || s.Leaders <= f.Histories {
		t.Errorf("too little happened to prove anything: %+v", s)
	}
}

// TestTranscripts: histories that once broke a promise no longer do.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no transcripts: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := sim.Parse(string(b))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if h := sim.Run(p, true); h.Err != nil {
			t.Errorf("%s: %v\n%s", name, h.Err, strings.Join(h.Trace, "\n"))
		}
	}
}

// TestSameSeedSameHistory: a seed is enough to see a history again, and so is
// its transcript.
func TestSameSeedSameHistory(t *testing.T) {
	hashes := map[uint64]bool{}
	for s := uint64(1); s <= 12; s++ {
		p := sim.Draw(s)
		first := sim.Run(p, false)
		again, err := sim.Parse(p.String())
		if err != nil {
			t.Fatalf("seed %d: %v", s, err)
		}
		if !reflect.DeepEqual(p, again) {
			t.Fatalf("seed %d: the transcript of\n%s\nis read as\n%s", s, p, again)
		}
		traced := sim.Run(again, true)
		if first.Hash != traced.Hash || !reflect.DeepEqual(first.Stats, traced.Stats) {
			t.Fatalf("seed %d: the same plan gave two histories, %x %+v and %x %+v", s, first.Hash, first.Stats, traced.Hash, traced.Stats)
		}
		hashes[first.Hash] = true
	}
	if len(hashes) != 12 {
		t.Errorf("12 seeds gave %d histories", len(hashes))
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"seed x", "line 1"},
		{"seed", "says nothing"},
		{"nodes 1\nslots 0", "line 2"},
		{"nodes 12\nslots 1", "1 to 9"},
		{"1s submit colour=red", `"colour=red" is unknown`},
		{"soon submit id=t1", "line 1"},
		{"1s lag who=n1 for=long", "line 1"},
	} {
		if _, err := sim.Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want %q", c.text, err, c.want)
		}
	}
}
