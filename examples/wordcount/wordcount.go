// Package wordcount counts the words of many texts at once. It is a cell: farm
// runs Count on the workers, text by text, and feeds what it returns to Merge
// in a namespace, each count exactly once. It is plain Go as well.
//
//	farm map --call Count --fold total:Merge --in texts.jsonl wordcount.go
package wordcount

import "strings"

// topWords is how many of the commonest words an Answer names.
const topWords = 10

// WordCount says how often a word occurs.
type WordCount struct {
	Word  string
	Count int
}

// Answer is what is known after the texts merged so far.
type Answer struct {
	Texts    int
	Words    int
	Distinct int
	Top      []WordCount // commonest first, equals in alphabetical order
}

// What has been merged, kept in the namespace that Merge runs in.
var total = map[string]int{}
var texts, words = 0, 0
var top []WordCount

// Count counts the words of one text. A word is what stands between white
// space, without punctuation around it and in lower case.
func Count(text string) map[string]int {
	counts := map[string]int{}
	for _, field := range strings.Fields(strings.ToLower(text)) {
		if word := strings.Trim(field, `.,;:!?"'()`); word != "" {
			counts[word]++
		}
	}
	return counts
}

// Merge adds the counts of one text. It looks at the words of that text only,
// however many there are in all: no other word can have become more common.
func Merge(counts map[string]int) Answer {
	texts++
	for word, n := range counts {
		total[word] += n
		words += n
		promote(WordCount{Word: word, Count: total[word]})
	}
	return Answer{Texts: texts, Words: words, Distinct: len(total), Top: append([]WordCount{}, top...)}
}

// promote gives a word whose count grew its place among the commonest.
func promote(w WordCount) {
	if len(top) == topWords && !commoner(w, top[topWords-1]) {
		return
	}
	at := 0
	for at < len(top) && top[at].Word != w.Word {
		at++
	}
	if at == topWords {
		at-- // it takes the place of the last
	} else if at == len(top) {
		top = append(top, w)
	}
	for at > 0 && commoner(w, top[at-1]) {
		top[at] = top[at-1]
		at--
	}
	top[at] = w
}

func commoner(a, b WordCount) bool {
	return a.Count > b.Count || a.Count == b.Count && a.Word < b.Word
}
