// Command plain counts the same words as the wordcount example without farm: in
// one process, in one map, sorted at the end. It is what farm's answer is
// compared with.
//
//	go run ./examples/wordcount/plain < examples/wordcount/texts.jsonl
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
)

// maxLine is the longest line read, in bytes.
const maxLine = 1 << 20

type wordCount struct {
	Word  string
	Count int
}

type answer struct {
	Texts    int
	Words    int
	Distinct int
	Top      []wordCount
}

func main() {
	log.SetFlags(0)
	a, err := count(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	out, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(out))
}

// count reads texts, one JSON string a line.
func count(r io.Reader) (answer, error) {
	var a answer
	total := map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			return answer{}, fmt.Errorf("line %d: %w", a.Texts+1, err)
		}
		a.Texts++
		for _, w := range strings.Fields(strings.ToLower(text)) {
			if w = strings.Trim(w, `.,;:!?"'()`); w != "" {
				total[w]++
				a.Words++
			}
		}
	}
	a.Distinct = len(total)
	for w, n := range total {
		a.Top = append(a.Top, wordCount{w, n})
	}
	slices.SortFunc(a.Top, func(x, y wordCount) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Word, y.Word))
	})
	a.Top = a.Top[:min(len(a.Top), 10)]
	return a, lines.Err()
}
