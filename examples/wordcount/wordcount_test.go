package wordcount

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"reflect"
	"testing"
)

// The functions that farm runs and the plain program, written independently,
// give the same answer for the committed texts.
func TestAgreesWithPlain(t *testing.T) {
	in, err := os.ReadFile("texts.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "run", "./plain")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var want Answer
	if err := json.Unmarshal(out, &want); err != nil {
		t.Fatal(err)
	}
	if got := mergeAll(t, in); !reflect.DeepEqual(got, want) {
		t.Fatalf("Count and Merge give\n%+v\nthe plain program\n%+v", got, want)
	}
	if want.Texts < 1000 || want.Distinct < 1000 || len(want.Top) != topWords || want.Top[0].Word != "the" {
		t.Fatalf("this is not the answer for the committed texts: %+v", want)
	}
}

// mergeAll runs the job in this process: each line counted, each count merged.
func mergeAll(t *testing.T, in []byte) Answer {
	t.Helper()
	total, texts, words, top = map[string]int{}, 0, 0, nil
	var last Answer
	lines := bufio.NewScanner(bytes.NewReader(in))
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			t.Fatal(err)
		}
		last = Merge(Count(text))
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return last
}
