package impure

import (
	"context"
	"math/rand"
	"time"
)

type table map[string]int

func impure(ctx context.Context, t table) int {
	c := make(chan int)
	go func() { c <- rand.Int() }()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
	}
	for i := range []int{1} {
		_ = i
	}
	for k := range t { // sorted below
		_ = k
	}
	for k := range t {
		_ = k
		for range map[int]int{} {
		}
	}
	return <-c
}
