package main

import (
	"math/rand/v2"
	"sort"
	"strings"
)

// list splits at '|' when there is one (entries of several words), else at
// white space.
func list(s string) []string {
	if !strings.Contains(s, "|") {
		return strings.Fields(s)
	}
	var out []string
	for _, e := range strings.Split(s, "|") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

// ranked chooses words so that the one at rank r comes up in proportion to
// 1/(r+flat), which is Zipf's law. Weights are whole numbers: the same seed
// gives the same text on every machine.
type ranked struct {
	words []string
	upTo  []int // sums of the weights
}

const (
	weightScale = 1_000_000
	flat        = 3 // keeps the first rank from drowning the others
)

func rank(words []string) ranked {
	r := ranked{words: words, upTo: make([]int, len(words))}
	sum := 0
	for i := range words {
		sum += weightScale / (i + flat)
		r.upTo[i] = sum
	}
	return r
}

func (r ranked) pick(rng *rand.Rand) string {
	x := rng.IntN(r.upTo[len(r.upTo)-1])
	return r.words[sort.SearchInts(r.upTo, x+1)]
}

// grammar makes paragraphs. Every call draws from the one generator it was
// made with, so a grammar made anew from the same seed repeats itself.
type grammar struct {
	rng                                     *rand.Rand
	noun, verb, stand, adjective, adverb    ranked
	preposition, joiner, pronoun, name      ranked
	determiner, pluralDeterminer, openWords []string
}

func newGrammar(seed uint64) *grammar {
	g := &grammar{
		rng:  rand.New(rand.NewPCG(seed, 0)),
		noun: rank(nouns), verb: rank(transitive), stand: rank(intransitive),
		adjective: rank(adjectives), adverb: rank(adverbs), preposition: rank(prepositions),
		joiner: rank(joiners), pronoun: rank(pronouns),
		determiner: determiners, pluralDeterminer: pluralDeterminers, openWords: openers,
	}
	g.name = rank(g.names())
	return g
}

// names invents every combination of the parts, in an order of the seed's own,
// so that other seeds tell of other towns.
func (g *grammar) names() []string {
	var all []string
	for _, h := range nameHeads {
		for _, t := range nameTails {
			all = append(all, h+t)
			for _, m := range nameMids {
				all = append(all, h+m+t)
			}
		}
	}
	g.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// chance is true in percent of 100 cases.
func (g *grammar) chance(percent int) bool { return g.rng.IntN(100) < percent }

func (g *grammar) any(words []string) string { return words[g.rng.IntN(len(words))] }

func (g *grammar) paragraph() string {
	var sentences []string
	for range 5 + g.rng.IntN(8) {
		sentences = append(sentences, g.sentence())
	}
	return strings.Join(sentences, " ")
}

func (g *grammar) sentence() string {
	s := g.clause()
	if g.chance(30) {
		s = g.any(g.openWords) + ", " + s
	}
	if g.chance(45) {
		s += g.any([]string{" ", ", "}) + g.joiner.pick(g.rng) + " " + g.clause()
	}
	s = capital(s)
	switch {
	case g.chance(8):
		return `"` + s + `," said ` + g.name.pick(g.rng) + "."
	case g.chance(6):
		return s + "!"
	case g.chance(6):
		return s + "?"
	}
	return s + "."
}

func (g *grammar) clause() string {
	words := []string{g.subject()}
	if g.chance(20) {
		words = append(words, g.adverb.pick(g.rng))
	}
	if g.chance(60) {
		words = append(words, past(g.verb.pick(g.rng)), g.thing())
	} else {
		words = append(words, past(g.stand.pick(g.rng)))
	}
	for g.chance(45) {
		words = append(words, g.preposition.pick(g.rng), g.thing())
	}
	if g.chance(12) {
		words = append(words, "and", past(g.stand.pick(g.rng)))
	}
	return strings.Join(words, " ")
}

func (g *grammar) subject() string {
	switch n := g.rng.IntN(100); {
	case n < 30:
		return g.pronoun.pick(g.rng)
	case n < 42:
		return g.name.pick(g.rng)
	}
	return g.thing()
}

// thing is a noun with what stands before it: the old harbour, three letters.
func (g *grammar) thing() string {
	noun, before := g.noun.pick(g.rng), g.any(g.determiner)
	if g.chance(25) {
		noun, before = plural(noun), g.any(g.pluralDeterminer)
	}
	words := []string{before}
	for g.chance(35) && len(words) < 3 {
		words = append(words, g.adjective.pick(g.rng))
	}
	words = append(words, noun)
	if g.chance(10) {
		words = append(words, "of", g.name.pick(g.rng))
	}
	if words[0] == "a" && strings.ContainsAny(words[1][:1], "aeiou") && words[1] != "useful" && words[1] != "useless" {
		words[0] = "an"
	}
	return strings.Join(words, " ")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func endsInConsonantY(w string) bool {
	return strings.HasSuffix(w, "y") && !strings.ContainsAny(w[len(w)-2:len(w)-1], "aeiou")
}

func past(verb string) string {
	switch {
	case strings.HasSuffix(verb, "e"):
		return verb + "d"
	case endsInConsonantY(verb):
		return verb[:len(verb)-1] + "ied"
	}
	return verb + "ed"
}

func plural(noun string) string {
	for _, end := range []string{"s", "sh", "ch", "x"} {
		if strings.HasSuffix(noun, end) {
			return noun + "es"
		}
	}
	if endsInConsonantY(noun) {
		return noun[:len(noun)-1] + "ies"
	}
	return noun + "s"
}
