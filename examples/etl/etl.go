//go:build ignore

// The steps of a load of orders, for a namespace: what one leaves in the variables the
// next finds there. It is a cell, and not built by itself: package farm is that of cells.
package etl

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"farm"
)

// Order is a row that makes sense.
type Order struct {
	Region, Product string
	Cents           int
}

var (
	rows        [][]string            // as they came
	corrections = map[string]string{} // prices by order, that somebody looked up
	orders      []Order
	totals      map[string]int // cents by region
)

// Extract reads the rows of a file, and does not look at them yet.
func Extract() string {
	file, err := farm.ReadFile("orders.csv")
	if err != nil {
		panic(err)
	}
	all, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		panic(err)
	}
	rows = all[1:]
	return fmt.Sprintf("%d rows", len(rows))
}

// Clean makes orders of the rows. One that makes no sense fails the step: nothing of it
// is kept, and no step after it begins.
func Clean() string {
	orders = nil
	for _, row := range rows {
		price := row[4]
		if p, ok := corrections[row[0]]; ok {
			price = p
		}
		pieces, err := strconv.Atoi(row[3])
		if err != nil {
			panic(fmt.Sprintf("order %s: pieces %q", row[0], row[3]))
		}
		each, err := strconv.ParseFloat(price, 64)
		if err != nil {
			panic(fmt.Sprintf("order %s: price %q", row[0], price))
		}
		orders = append(orders, Order{row[1], row[2], pieces * int(each*100+0.5)})
	}
	return fmt.Sprintf("%d orders", len(orders))
}

// Load adds the orders up. At first the warehouse does not answer: the step is tried
// again by itself, after a moment.
func Load() string {
	if farm.Attempt() == 1 {
		panic("the warehouse does not answer")
	}
	totals = map[string]int{}
	for _, o := range orders {
		totals[o.Region] += o.Cents
	}
	return fmt.Sprintf("%d regions", len(totals))
}

// Report prints what was loaded.
func Report() string {
	var lines []string
	sum := 0
	for region, cents := range totals {
		lines = append(lines, fmt.Sprintf("%s %d.%02d", region, cents/100, cents%100))
		sum += cents
	}
	sort.Strings(lines)
	fmt.Println(strings.Join(lines, "\n"))
	return fmt.Sprintf("total %d.%02d", sum/100, sum%100)
}
