//go:build ignore

// Package crawler is a crawl in which each page is a task that submits those that the page
// links to. It needs no network: the web is made here. The build constraint keeps the go
// command away: package farm is there in tasks only.
package crawler

import (
	"farm"
	"fmt"
)

// ---- the web ----

const webPages = 400 // pages there are; not all of them are linked

// page is what a server would answer for a page: nothing for a dead one.
func page(n int) (words int, links []int, ok bool) {
	h := mix(uint32(n))
	if h%13 == 0 && n != 0 {
		return 0, nil, false
	}
	for i := uint32(0); i < 1+h%5; i++ {
		links = append(links, int(mix(h+i)%webPages))
	}
	return int(50 + h%200), links, true
}

func mix(h uint32) uint32 {
	h = (h + 0x9e3779b9) * 0x85ebca6b
	h ^= h >> 13
	h *= 0xc2b2ae35
	return h ^ h>>16
}

// ---- the crawl ----

// Page is what the crawl finds at an address.
type Page struct {
	Address string
	Words   int
	Dead    bool
}

// Start begins the crawl at a page.
func Start(n int) Page {
	follow(n)
	return Page{}
}

// follow has a page visited, once, whoever links to it: it gives the task a name.
func follow(n int) {
	farm.Submit(farm.Task{
		ID:      fmt.Sprintf("%s.page-%d", farm.Job(), n),
		InJob:   true,
		Call:    "Visit",
		Inputs:  []string{farm.Input(n)},
		Retries: 3,
	})
}

// Visit reads a page and follows its links.
func Visit(n int) Page {
	words, links, ok := page(n)
	for _, to := range links {
		follow(to)
	}
	return Page{fmt.Sprint("sim://web/", n), words, !ok}
}

// ---- the index ----

// Index is what the crawl has come to.
type Index struct{ Pages, Dead, Words, Twice int }

var index Index
var visits = map[string]int{}

// Add takes in what a visit found.
func Add(p Page) Index {
	if p.Address == "" {
		return index
	}
	if visits[p.Address]++; visits[p.Address] > 1 {
		index.Twice++
	}
	index.Pages++
	index.Words += p.Words
	if p.Dead {
		index.Dead++
	}
	return index
}
