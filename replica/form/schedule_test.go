package form

import (
	"slices"
	"testing"
	"time"

	"farm/scheduler"
)

// TestDue: for which times a schedule is fired, late or not, by its policy.
func TestDue(t *testing.T) {
	at := func(s string) int64 {
		x, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return x.UnixNano()
	}
	for _, c := range []struct {
		spec, first, now string
		policy           scheduler.CatchUp
		want             []string
		next             string
	}{
		{"0 * * * *", "2026-01-01T05:00:00Z", "2026-01-01T05:00:00Z", scheduler.CatchUpNone, []string{"2026-01-01T05:00:00Z"}, "2026-01-01T06:00:00Z"},
		{"0 * * * *", "2026-01-01T05:00:00Z", "2026-01-01T05:00:59Z", scheduler.CatchUpNone, []string{"2026-01-01T05:00:00Z"}, "2026-01-01T06:00:00Z"},
		{"0 * * * *", "2026-01-01T05:00:00Z", "2026-01-01T05:01:00Z", scheduler.CatchUpNone, nil, "2026-01-01T06:00:00Z"},
		{"0 * * * *", "2026-01-01T05:00:00Z", "2026-01-01T09:00:30Z", scheduler.CatchUpNone, []string{"2026-01-01T09:00:00Z"}, "2026-01-01T10:00:00Z"},
		{"0 * * * *", "2026-01-01T05:00:00Z", "2026-01-01T08:30:00Z", scheduler.CatchUpOne, []string{"2026-01-01T08:00:00Z"}, "2026-01-01T09:00:00Z"},
		{"0 0 1 * *", "2025-03-01T00:00:00Z", "2026-01-20T08:30:00Z", scheduler.CatchUpOne, []string{"2026-01-01T00:00:00Z"}, "2026-02-01T00:00:00Z"},
		{"* * * * *", "2020-03-01T00:00:00Z", "2026-01-20T08:30:30Z", scheduler.CatchUpOne, []string{"2026-01-20T08:30:00Z"}, "2026-01-20T08:31:00Z"},
		{"0 * * * *", "2026-01-01T05:00:00Z", "2026-01-01T07:30:00Z", scheduler.CatchUpAll, []string{"2026-01-01T05:00:00Z", "2026-01-01T06:00:00Z", "2026-01-01T07:00:00Z"}, "2026-01-01T08:00:00Z"},
		{"@every 20s", "2026-01-01T05:00:00Z", "2026-01-01T05:00:45Z", scheduler.CatchUpNone, []string{"2026-01-01T05:00:00Z", "2026-01-01T05:00:20Z", "2026-01-01T05:00:40Z"}, "2026-01-01T05:01:00Z"},
	} {
		p, err := planOf(c.spec, "")
		if err != nil {
			t.Fatal(err)
		}
		var want []int64
		for _, w := range c.want {
			want = append(want, at(w))
		}
		if got, next := p.due(c.policy, at(c.first), at(c.now)); !slices.Equal(got, want) || next != at(c.next) {
			t.Errorf("%s from %s at %s: %d then %d, want %d then %d", c.spec, c.first, c.now, got, next, want, at(c.next))
		}
	}
	p, _ := planOf("* * * * *", "Europe/Berlin")
	first := at("2026-01-01T00:00:00Z")
	got, next := p.due(scheduler.CatchUpAll, first, at("2026-02-01T00:00:00Z"))
	if len(got) != scheduler.MaxTicks || next != got[len(got)-1]+int64(time.Minute) {
		t.Errorf("of very many: %d, then %d", len(got), next)
	}
}
