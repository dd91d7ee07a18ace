// Package examples runs the examples as a reader would, on a farm of their own.
package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the examples print is what independent programs compute: the word count
// of examples/wordcount/plain, the estimate of examples/pi's own test, the number of
// primes below 100,000, the pages that examples/crawler-sim/plain walks, none twice, and the
// thumbnails of its pictures. What awk counts in the log of
// examples/loganalysis, and of the orders of examples/etl; how many values the logistic map has
// where it is known, and that a second run finds them computed. The coefficients that the data
// of examples/regression is made with, within its noise.
var answers = []string{"broken.png: failed: broken.png is no picture", "waves11.png: 62 by 30, 2052dda8959c", `"Words": 481645`, `"Distinct": 5888`, `"Pi": 3.1414184`, "c0: 2762", "c3: 2199", "\n9592\n",
	"\"Pages\": 354,\n  \"Dead\": 33,\n  \"Words\": 49225,\n  \"Twice\": 0\n",
	"clean: order 1006: price \"n/a\"", "queue etl: 3 parked", "north 71.90\nsouth 98.05\nwest 81.50\n", "\"total 251.45\"", "load took 2 attempts",
	"/checkout          340      8 ", `"5000 rows: [3.00 2.00 -1.00]"`, `"5000"`, "\n624\t", "takes 4 values\nat r = 3.83 x takes 3 values\ncomputed before\n"}

func TestExamples(t *testing.T) {
	farm := filepath.Join(t.TempDir(), "farm")
	if out, err := exec.Command("go", "build", "-o", farm, "farm/cmd/farm").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "run.sh")
	cmd.Env = append(os.Environ(), "FARM="+farm)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, a := range answers {
		if !strings.Contains(string(out), a) {
			t.Errorf("the output does not have %q", a)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}
