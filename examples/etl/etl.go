//go:build ignore

// Package etl is the steps of a night: read the orders of a shop, convert what they cost into one
// currency, and report what was sold. Each step is a task of its own in the namespace of
// the night, and leaves there what the next one needs. The build constraint keeps the go command away: package farm is there in
// tasks only, and the rates are in the namespace.
package etl

import (
	"encoding/csv"
	"farm"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Order is one line of orders.csv.
type Order struct {
	Number   int
	Country  string
	Currency string
	Cents    int
}

var (
	orders []Order
	euros  []int // cents of each order
)

// Extract reads the file that its task was given.
func Extract() int {
	text, err := farm.ReadFile("orders.csv")
	if err != nil {
		panic(err)
	}
	lines, err := csv.NewReader(strings.NewReader(string(text))).ReadAll()
	if err != nil {
		panic(err)
	}
	orders = nil
	for _, l := range lines {
		number, err1 := strconv.Atoi(l[0])
		cents, err2 := strconv.Atoi(l[3])
		if err1 != nil || err2 != nil {
			panic(fmt.Sprintf("order %q has no number", l))
		}
		orders = append(orders, Order{number, l[1], l[2], cents})
	}
	return len(orders)
}

// Convert needs a rate for each currency. It is a transaction: when one is missing,
// nothing is converted.
func Convert() int {
	euros = nil
	sum := 0
	for _, o := range orders {
		rate, ok := rates[o.Currency]
		if !ok {
			panic(fmt.Sprintf("order %d: no rate for %s", o.Number, o.Currency))
		}
		euros = append(euros, int(float64(o.Cents)*rate+0.5))
		sum += euros[len(euros)-1]
	}
	return sum
}

// Report prints what was sold, by country.
func Report() {
	sold := map[string]int{}
	for i, o := range orders {
		sold[o.Country] += euros[i]
	}
	countries := []string{}
	for c := range sold {
		countries = append(countries, c)
	}
	sort.Strings(countries)
	for _, c := range countries {
		fmt.Printf("%s %8d.%02d EUR\n", c, sold[c]/100, sold[c]%100)
	}
}
