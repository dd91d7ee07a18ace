package pi

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"testing"
)

// The job run in this process gives what the README prints: the seeds decide
// every dart, so no machine and no order of the sums may change it.
func TestEstimate(t *testing.T) {
	f, err := os.Open("seeds.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum = Throws{}
	var last Estimate
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var seed int64
		if err := json.Unmarshal(lines.Bytes(), &seed); err != nil {
			t.Fatal(err)
		}
		last = Add(Samples(seed))
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if want := (Throws{Inside: 3_926_773, Total: 5_000_000}); last.Throws != want {
		t.Errorf("threw %+v, want %+v", last.Throws, want)
	}
	if math.Abs(last.Pi-math.Pi) > 4*last.Error {
		t.Errorf("pi is estimated as %v ± %v", last.Pi, last.Error)
	}
}

func TestSamplesRepeats(t *testing.T) {
	if a, b := Samples(3), Samples(3); a != b {
		t.Errorf("the same seed gave %+v, then %+v", a, b)
	}
	if a, b := Samples(3), Samples(4); a == b {
		t.Errorf("two seeds gave the same %+v", a)
	}
}
