package ask

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"farm/api"
)

// TestDerivedIDs: they differ, begin with the first task of the line, and never grow long.
func TestDerivedIDs(t *testing.T) {
	seen := map[string]bool{}
	for _, root := range []string{"a", strings.Repeat("x", 128)} {
		id := root
		for i := range 300 {
			id = ID(id, i%3+1)
			if seen[id] || !strings.HasPrefix(id, root+"/") || len(id) > len(root)+1+maxDerived {
				t.Fatalf("%s after %d", id, i)
			}
			seen[id] = true
		}
	}
	if a, b := ID("a/1", 2), ID("a/1", 2); a != b || a != "a/1/2" {
		t.Errorf("%s and %s", a, b)
	}
}

// TestPutAndGet: what is put into a request is what is read of it, with its defaults.
func TestPutAndGet(t *testing.T) {
	full := Options{Timeout: time.Second, Delay: time.Minute, Deadline: time.Unix(99, 5).UTC(), Retries: 3, Backoff: time.Second, BackoffMax: time.Hour,
		Priority: -2, Queue: "q", Key: "k", Unique: Unique{Key: "u", While: "queued"}, After: []string{"a", "a/1"}, AfterWhen: "any", Keep: time.Hour,
		Labels: map[string]string{"gpu": "1"}}
	at := Options{At: time.Unix(7, 0).UTC(), Within: time.Minute, Unique: Unique{Key: "u", For: time.Hour}, Labels: map[string]string{}}
	none := Options{Retries: 1, Backoff: -1, Labels: map[string]string{}}
	for i, o := range []Options{full, at, none} {
		var s api.Submit
		if err := o.Put(&s); err != nil {
			t.Fatal(err)
		}
		if got := Get(&s); !reflect.DeepEqual(got, o) {
			t.Errorf("%d: got\n%+v\nwant\n%+v", i, got, o)
		}
	}
	var s api.Submit
	if err := (&Options{Retries: 1, Unique: Unique{Key: "u"}}).Put(&s); err != nil || s.Backoff != int64(DefaultBackoff) || s.BackoffMax != int64(DefaultBackoffMax) || s.Unique.While != "running" {
		t.Errorf("defaults: %v, %v", &s, err)
	}
}

// TestBadOptions: what cannot be is refused by the name of the option.
func TestBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"Timeout": {Timeout: -1}, "Delay": {Delay: -1}, "Within": {Within: -1}, "BackoffMax": {BackoffMax: -1}, "Keep": {Keep: -1},
		"Retries": {Retries: -1}, "Priority": {Priority: 1 << 40}, "Within ": {Within: 1, Deadline: time.Unix(1, 0)}, "At": {Delay: 1, At: time.Unix(1, 0)},
		"AfterWhen": {AfterWhen: "any"}, "AfterWhen ": {After: []string{"a"}, AfterWhen: "some"}, "Labels": {Labels: map[string]string{"a b": "c"}},
		"Unique": {Unique: Unique{While: "queued"}}, "Unique ": {Unique: Unique{Key: "k", While: "ever"}}, "Unique  ": {Unique: Unique{Key: "k", For: -1}},
	} {
		e, ok := errors.AsType[*Error](o.Put(&api.Submit{}))
		if !ok || e.Option != strings.TrimSpace(name) {
			t.Errorf("%s: %v", name, e)
		}
	}
}
