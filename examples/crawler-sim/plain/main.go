// Command plain walks the web of examples/crawler-sim by itself, without farm, and prints
// what the crawl must find.
package main

import "fmt"

func main() {
	fmt.Println(walk())
}

// walk goes from page 0 wherever links lead.
func walk() (pages, dead, words int) {
	const all = 400
	var known [all]bool
	known[0] = true
	for queue := []uint32{0}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		seed := scramble(at)
		pages++
		if at > 0 && seed%13 == 0 {
			dead++
			continue
		}
		words += int(seed%200) + 50
		for k := range seed%5 + 1 {
			if to := scramble(seed+k) % all; !known[to] {
				known[to] = true
				queue = append(queue, to)
			}
		}
	}
	return pages, dead, words
}

// scramble spreads the bits of a number.
func scramble(x uint32) uint32 {
	x += 0x9e3779b9
	x *= 0x85ebca6b
	x ^= x >> 13
	x *= 0xc2b2ae35
	return x ^ x>>16
}
