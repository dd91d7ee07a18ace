// Package cron reads specifications as of cron and computes the times they name. It
// has the data of time zones in it, so that it does not depend on the machine's,
// where the machine has none.
//
// A specification is five fields, minute, hour, day of month, month and day of week,
// or one of @yearly, @monthly, @weekly, @daily, @hourly, or "@every D". A field is *,
// numbers, ranges (1-5), steps (*/15, 8-18/2) and lists of these; months and days of
// the week have names as well (jan, mon). When day of month and day of week are both
// restricted, either is enough.
//
// Where clocks are changed, a time that does not exist on that day is the moment of
// the change, and one that comes twice is the first of them. With * as its hour a
// specification counts real hours instead: what does not exist is left out, and what
// comes twice comes twice.
package cron

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are not to depend on the machine
)

// MinEvery is the shortest D of "@every D".
const MinEvery = time.Second

// Errors.
var (
	// ErrSpec is returned when a text is no specification, or names no time.
	ErrSpec = errors.New("not a cron specification")
	// ErrZone is returned when a text names no time zone.
	ErrZone = errors.New("not a time zone")
)

// Spec is a specification. It can be used by many goroutines.
type Spec struct {
	minute, hour, day, month, weekday uint64 // bit n: value n
	either                            bool   // day of month or day of week is enough
	hourly                            bool   // every hour: real ones are counted
	every                             time.Duration
}

// macros are names of specifications.
var macros = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Parse reads a specification. Error: ErrSpec.
func Parse(text string) (*Spec, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if d, ok := strings.CutPrefix(text, "@every "); ok {
		every, err := time.ParseDuration(strings.TrimSpace(d))
		if err != nil || every < MinEvery || every%time.Second != 0 {
			return nil, fmt.Errorf("%w: %q: @every wants a duration of whole seconds, such as 90s", ErrSpec, text)
		}
		return &Spec{every: every}, nil
	}
	fields := strings.Fields(text)
	if m, ok := macros[text]; ok {
		fields = strings.Fields(m)
	}
	if len(fields) != 5 {
		return nil, fmt.Errorf("%w: %q has not five fields (minute, hour, day of month, month, day of week)", ErrSpec, text)
	}
	s := &Spec{}
	for i, f := range []struct {
		to       *uint64
		what     string
		min, max int
		names    string
	}{
		{&s.minute, "minute", 0, 59, ""},
		{&s.hour, "hour", 0, 23, ""},
		{&s.day, "day of month", 1, 31, ""},
		{&s.month, "month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"},
		{&s.weekday, "day of week", 0, 7, "sun mon tue wed thu fri sat"},
	} {
		set, err := parseField(fields[i], f.min, f.max, strings.Fields(f.names))
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %s: %w", ErrSpec, text, f.what, err)
		}
		*f.to = set
	}
	s.weekday |= s.weekday >> 7 // 7 is Sunday as well
	s.either = !star(fields[2]) && !star(fields[4])
	s.hourly = s.hour == 1<<24-1
	if s.Next(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, fmt.Errorf("%w: %q names no time", ErrSpec, text)
	}
	return s, nil
}

func star(field string) bool { return field[0] == '*' || field[0] == '?' }

// parseField reads a list of values, ranges and steps.
func parseField(text string, low, high int, names []string) (set uint64, err error) {
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		from, to := low, high
		if span != "*" && span != "?" {
			first, last, ranged := strings.Cut(span, "-")
			if from, err = parseValue(first, low, high, names); err != nil {
				return 0, err
			}
			switch {
			case ranged:
				if to, err = parseValue(last, low, high, names); err != nil {
					return 0, err
				}
			case !stepped:
				to = from
			}
		}
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return 0, fmt.Errorf("%q is no step", stepText)
			}
		}
		if from > to {
			return 0, fmt.Errorf("%q goes backwards", span)
		}
		for v := from; v <= to; v += step {
			set |= 1 << v
		}
	}
	return set, nil
}

func parseValue(text string, low, high int, names []string) (int, error) {
	for i, n := range names {
		if n == text {
			return low + i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < low || v > high {
		return 0, fmt.Errorf("%q is not one of %d to %d", text, low, high)
	}
	return v, nil
}

// Zone finds a time zone by its name, such as "Europe/Berlin"; UTC for none. Error:
// ErrZone.
func Zone(name string) (*time.Location, error) {
	if name == "Local" { // it is another one on each machine
		return nil, fmt.Errorf("%w: %q", ErrZone, name)
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrZone, name)
	}
	return loc, nil
}

// maxDays is how far ahead a time is looked for: February 29th may be 8 years away.
const maxDays = 9 * 366

// Next is the first time after t that is named, in the zone of t; zero when there is
// none within nine years. Times of "@every D" are multiples of D since 1970.
func (s *Spec) Next(t time.Time) time.Time {
	if s.every > 0 {
		n := t.UnixNano()
		return time.Unix(0, n-n%int64(s.every)+int64(s.every)).In(t.Location())
	}
	year, month, day := t.Date()
	for i := range maxDays {
		d := time.Date(year, month, day+i, 0, 0, 0, 0, time.UTC)
		if !s.onDay(d) {
			continue
		}
		if at := s.within(d.Unix(), t); at != 0 {
			return time.Unix(at, 0).In(t.Location())
		}
	}
	return time.Time{}
}

// onDay tells whether a day is named.
func (s *Spec) onDay(d time.Time) bool {
	day, week := s.day>>d.Day()&1 == 1, s.weekday>>d.Weekday()&1 == 1
	if s.month>>d.Month()&1 == 0 {
		return false
	}
	if s.either {
		return day || week
	}
	return day && week
}

const secondsPerDay = 24 * 3600

// within is the first named moment after t of a day, which begins at the given number
// of seconds of its own clock; 0: none.
func (s *Spec) within(day int64, t time.Time) (best int64) {
	z := zone{loc: t.Location()}
	z.before, z.after = z.offset(day-secondsPerDay), z.offset(day+2*secondsPerDay)
	for hours := s.hour; hours != 0; hours &= hours - 1 {
		for minutes := s.minute; minutes != 0; minutes &= minutes - 1 {
			wall := day + int64(bits.TrailingZeros64(hours))*3600 + int64(bits.TrailingZeros64(minutes))*60
			for _, at := range z.moments(wall, s.hourly) {
				if at > t.Unix() && (best == 0 || at < best) {
					best = at
				}
			}
			if best != 0 && z.before == z.after { // they come in order
				return best
			}
		}
	}
	return best
}

// zone is a time zone about a day: its offsets in seconds before and after it.
type zone struct {
	loc           *time.Location
	before, after int64
	buf           [2]int64
}

func (z *zone) offset(at int64) int64 {
	_, o := time.Unix(at, 0).In(z.loc).Zone()
	return int64(o)
}

// moments are those at which the clocks show a time, given in seconds; all means that
// one which comes twice does, and one which does not exist is none.
func (z *zone) moments(wall int64, all bool) []int64 {
	early, late := wall-z.before, wall-z.after
	if z.before == z.after {
		z.buf[0] = early
		return z.buf[:1]
	}
	out := z.buf[:0]
	if z.offset(early) == z.before {
		out = append(out, early)
	}
	if z.offset(late) == z.after {
		out = append(out, late)
	}
	switch {
	case len(out) == 0 && !all:
		out = append(out, z.change(late, early))
	case len(out) == 2 && !all:
		out = out[:1]
	}
	return out
}

// change is the moment between two at which the offset becomes that of after.
func (z *zone) change(lo, hi int64) int64 {
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; z.offset(mid) == z.after {
			hi = mid
		} else {
			lo = mid
		}
	}
	return hi
}
