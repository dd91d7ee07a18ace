package taskstest

import (
	"slices"
	"strings"
)

// records are a state's records in memory.
type records map[string][]byte

func (r records) Get(key string) []byte { return r[key] }

func (r records) Put(key string, value []byte) {
	if value == nil {
		value = []byte{}
	}
	r[key] = value
}

func (r records) Delete(key string) { delete(r, key) }

func (r records) Scan(prefix, from string, fn func(string, []byte) bool) {
	var keys []string
	for k := range r {
		if k >= from && strings.HasPrefix(k, prefix) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		if !fn(k, r[k]) {
			return
		}
	}
}
