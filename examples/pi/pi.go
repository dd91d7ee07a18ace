// Package pi estimates pi by throwing darts. It is a cell: farm runs Samples on
// the workers, one call for each seed, and feeds what each returns to Add in a
// namespace, exactly once. It is plain Go as well.
//
//	farm map --call Samples --fold pi:Add --in seeds.jsonl pi.go
package pi

import (
	"math"
	"math/rand"
)

// throws is how many darts one call throws.
const throws = 50000

// Throws says how many darts were thrown at the unit square, and how many of
// them landed in the quarter circle.
type Throws struct {
	Inside int
	Total  int
}

// Estimate is what all throws together say.
type Estimate struct {
	Throws Throws
	Pi     float64
	Error  float64 // standard error of Pi
}

// What has been added, kept in the namespace that Add runs in.
var sum Throws

// Samples throws darts. The generator begins from the seed, so a task that is
// run again because its worker was lost gives the same answer again.
func Samples(seed int64) Throws {
	rng := rand.New(rand.NewSource(seed))
	inside := 0
	for i := 0; i < throws; i++ {
		x, y := rng.Float64(), rng.Float64()
		if x*x+y*y < 1 {
			inside++
		}
	}
	return Throws{Inside: inside, Total: throws}
}

// Add takes the throws of one call into the sum and says what they tell so far.
func Add(t Throws) Estimate {
	sum.Inside += t.Inside
	sum.Total += t.Total
	p := float64(sum.Inside) / float64(sum.Total)
	return Estimate{Throws: sum, Pi: 4 * p, Error: 4 * math.Sqrt(p*(1-p)/float64(sum.Total))}
}
