package differ

import (
	"crypto/sha256"
	"math/rand/v2"
)

// choices are the decisions of a generator: first those that its bytes say, then random ones that its bytes
// determine.
type choices struct {
	data []byte
	rest *rand.Rand
}

func newChoices(data []byte) *choices {
	return &choices{data: data, rest: rand.New(rand.NewChaCha8(sha256.Sum256(data)))}
}

// n is a number from 0 to below k.
func (c *choices) n(k int) int {
	if len(c.data) == 0 {
		return c.rest.IntN(k)
	}
	b := int(c.data[0])
	c.data = c.data[1:]
	if k > 256 {
		return (b<<8 | c.rest.IntN(256)) % k
	}
	return b % k
}

// one says yes once in k times.
func (c *choices) one(k int) bool { return c.n(k) == 0 }

func pick[T any](c *choices, list ...T) T { return list[c.n(len(list))] }
