// Command generate writes the texts that the wordcount example counts: one JSON
// string, a paragraph, per line. The text is invented from the word lists in
// this folder by a small grammar, with common and rare words in the proportions
// of a natural language. The same seed and size give the same bytes everywhere.
//
//	go run ./examples/wordcount/generate
package main

//go:generate go run . -out ../texts.jsonl

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"log"
	"os"
)

// What the committed file was made with.
const (
	defaultSeed = 1847
	defaultSize = 3_000_000 // bytes: lines are written until there are at least as many
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", "examples/wordcount/texts.jsonl", "file to write")
	seed := flag.Uint64("seed", defaultSeed, "another seed tells another story")
	size := flag.Int("bytes", defaultSize, "least size of the file in bytes")
	flag.Parse()
	if err := run(*out, *seed, *size); err != nil {
		log.Fatal(err)
	}
}

func run(path string, seed uint64, size int) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	return write(f, seed, size)
}

// write writes paragraphs until it has written at least size bytes.
func write(w io.Writer, seed uint64, size int) error {
	g, b := newGrammar(seed), bufio.NewWriter(w)
	for written := 0; written < size; {
		line, err := json.Marshal(g.paragraph())
		if err != nil {
			return err
		}
		n, err := b.Write(append(line, '\n'))
		if err != nil {
			return err
		}
		written += n
	}
	return b.Flush()
}
