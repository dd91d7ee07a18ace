package cron

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func mustZone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := Zone(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// TestNext: the times that specifications name, one after the other.
func TestNext(t *testing.T) {
	for _, c := range []struct{ spec, zone, from, want string }{
		{"30 2 * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z 2026-01-02T02:30:00Z"},
		{"*/20 9-10 * * mon-fri", "UTC", "2026-11-27T10:30:00Z", "2026-11-27T10:40:00Z 2026-11-30T09:00:00Z 2026-11-30T09:20:00Z"},
		{"0 0 13 * fri", "UTC", "2026-11-01T00:00:00Z", "2026-11-06T00:00:00Z 2026-11-13T00:00:00Z 2026-11-20T00:00:00Z"},
		{"0 0 */10 * fri", "UTC", "2026-11-01T00:00:00Z", "2026-12-11T00:00:00Z 2027-01-01T00:00:00Z 2027-05-21T00:00:00Z"},
		{"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 * * 7", "UTC", "2026-11-27T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"@weekly", "UTC", "2026-11-27T00:00:00Z", "2026-11-29T00:00:00Z"},
		{"@every 90s", "UTC", "1970-01-01T00:00:00Z", "1970-01-01T00:01:30Z 1970-01-01T00:03:00Z"},
		{"5/25 * * * *", "UTC", "2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z 2026-01-01T00:30:00Z 2026-01-01T00:55:00Z 2026-01-01T01:05:00Z"},
		// In Berlin, 2:00 becomes 3:00 on March 29th, and 3:00 becomes 2:00 on October 25th.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-28T01:30:00Z 2026-03-29T01:00:00Z 2026-03-30T00:30:00Z"},
		{"0,30 2-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z 2026-03-29T01:30:00Z 2026-03-30T00:00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z 2026-10-26T01:30:00Z"},
		{"30 * * * *", "Europe/Berlin", "2026-10-24T23:00:00Z", "2026-10-24T23:30:00Z 2026-10-25T00:30:00Z 2026-10-25T01:30:00Z 2026-10-25T02:30:00Z"},
		{"30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T00:30:00Z 2026-03-29T01:30:00Z"},
		// In Sao Paulo midnight became 1:00 on November 4th 2018.
		{"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z 2018-11-05T02:00:00Z"},
		// On Lord Howe clocks are changed by half an hour.
		{"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z 2026-10-04T15:15:00Z"},
	} {
		s, err := Parse(c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		at, _ := time.Parse(time.RFC3339, c.from)
		at = at.In(mustZone(t, c.zone))
		for _, want := range strings.Fields(c.want) {
			if at = s.Next(at); at.UTC().Format(time.RFC3339) != want {
				t.Errorf("%s in %s: %s, want %s", c.spec, c.zone, at.UTC().Format(time.RFC3339), want)
			}
		}
	}
}

// TestAgainstMinutes: Next finds what looking at every minute finds, over the changes
// of clocks.
func TestAgainstMinutes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	for range 60 {
		text := strings.Join([]string{pick("0", "*/7", "15,45", "*", "59"), pick("*", "0", "1,2", "2", "3", "*/5", "23", "0-23"), pick("*", "*", "*/3", "28"), "*", pick("*", "*", "sun", "6")}, " ")
		loc := mustZone(t, pick("Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "America/New_York", "UTC"))
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Date(2017, []time.Month{2, 3, 4, 10, 11}[rnd.IntN(5)], 1+rnd.IntN(28), rnd.IntN(24), rnd.IntN(60), rnd.IntN(60), 0, loc)
		at := from
		for m := from.Truncate(time.Minute).Add(time.Minute); m.Sub(from) < 6*24*time.Hour; m = m.Add(time.Minute) {
			if !slow(s, m) {
				continue
			}
			if at = s.Next(at); !at.Equal(m) {
				t.Fatalf("%s in %s after %s: %s, want %s", text, loc, from, at, m)
			}
		}
	}
}

// slow tells whether a moment is named, from what the clocks show then.
func slow(s *Spec, m time.Time) bool {
	shows := func(w time.Time) bool { // a time as a clock shows it, in UTC
		return s.onDay(w) && s.hour>>w.Hour()&1 == 1 && s.minute>>w.Minute()&1 == 1
	}
	clock := func(m time.Time) time.Time {
		return time.Date(m.Year(), m.Month(), m.Day(), m.Hour(), m.Minute(), 0, 0, time.UTC)
	}
	now, before := clock(m), clock(m.Add(-time.Minute))
	if s.hourly {
		return shows(now)
	}
	for w := before.Add(time.Minute); w.Before(now); w = w.Add(time.Minute) { // skipped
		if shows(w) {
			return true
		}
	}
	for back := 30 * time.Minute; shows(now) && back <= 2*time.Hour; back += 30 * time.Minute { // shown before
		if clock(m.Add(-back)).Equal(now) {
			return false
		}
	}
	return shows(now)
}

// TestRefused: what is no specification, and no zone.
func TestRefused(t *testing.T) {
	for _, bad := range []string{"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "5-1 * * * *", "*/0 * * * *", "a * * * *",
		"0 0 30 2 *", "@every", "@every 1ms", "@every 1500ms", "@never", "1- * * * *", "0 0 L * *", ",, * * * *", "-1 * * * *"} {
		if _, err := Parse(bad); !errors.Is(err, ErrSpec) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"Local", "Berlin", "../../etc/passwd"} {
		if _, err := Zone(bad); !errors.Is(err, ErrZone) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("*/5 1-3,7 1 jan mon")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		at := time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC)
		if next := s.Next(at); !next.After(at) {
			t.Errorf("%q: %v", text, next)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	loc, err := Zone("Europe/Berlin")
	if err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{"* * * * *", "59 23 31 12 *"} {
		b.Run(fmt.Sprint(strings.Fields(text)), func(b *testing.B) {
			s, err := Parse(text)
			if err != nil {
				b.Fatal(err)
			}
			at := time.Date(2026, 3, 29, 23, 0, 0, 0, loc)
			for b.Loop() {
				s.Next(at)
			}
		})
	}
}
