package sim

import (
	"errors"
	"slices"
	"time"
)

// Shrink cuts a plan that fails down to a short one that fails in the same
// check. It tries for at most limit. Which of the failing plans it arrives at
// is not promised, only that the one returned fails.
func Shrink(p *Plan, limit time.Duration) *Plan {
	h := Run(p, false)
	var v *ViolationError
	if !errors.As(h.Err, &v) {
		return p
	}
	s := &shrinking{best: p, check: v.Check, until: time.Now().Add(limit)}
	for size := -1; size != s.size() && !s.over(); {
		size = s.size()
		s.fewer()
		s.simpler()
	}
	return s.best
}

type shrinking struct {
	best  *Plan
	check string
	until time.Time
}

func (s *shrinking) over() bool { return time.Now().After(s.until) }

func (s *shrinking) size() int {
	n := len(s.best.Events)*10 + s.best.Nodes + len(s.best.Slots)
	if !s.best.Calm {
		n++
	}
	return n
}

// try makes p the best plan if it fails like the first.
func (s *shrinking) try(p *Plan) bool {
	if s.over() {
		return false
	}
	var v *ViolationError
	if h := Run(p, false); !errors.As(h.Err, &v) || v.Check != s.check {
		return false
	}
	s.best = p
	return true
}

func (s *shrinking) with(change func(p *Plan)) bool {
	p := *s.best
	p.Events = slices.Clone(p.Events)
	p.Slots = slices.Clone(p.Slots)
	change(&p)
	return s.try(&p)
}

// fewer leaves out events: half of them, a quarter, and so on down to each one.
func (s *shrinking) fewer() {
	for piece := (len(s.best.Events) + 1) / 2; piece > 0; piece /= 2 {
		for from := 0; from < len(s.best.Events) && !s.over(); {
			to := min(from+piece, len(s.best.Events))
			if !s.with(func(p *Plan) { p.Events = slices.Delete(p.Events, from, to) }) {
				from = to
			}
		}
	}
}

// simpler makes what is left plain: no chance, few nodes and workers, events
// close to each other and at round times.
func (s *shrinking) simpler() {
	if !s.best.Calm {
		s.with(func(p *Plan) { p.Calm = true })
	}
	for _, n := range []int{1, 3} {
		if n < s.best.Nodes && s.with(func(p *Plan) { p.Nodes = n }) {
			break
		}
	}
	for len(s.best.Slots) > 1 && len(s.best.Has) == 0 && s.with(func(p *Plan) { p.Slots = p.Slots[:len(p.Slots)-1] }) {
	}
	s.with(func(p *Plan) {
		for i := range p.Events {
			p.Events[i].Try = 0
		}
	})
	for i := range s.best.Events { // take out the time before an event
		gap := s.best.Events[i].At
		if i > 0 {
			gap -= s.best.Events[i-1].At
		}
		if gap > 10*time.Millisecond {
			s.with(func(p *Plan) {
				for j := i; j < len(p.Events); j++ {
					p.Events[j].At -= gap
				}
			})
		}
	}
	s.with(func(p *Plan) {
		for i := range p.Events {
			p.Events[i].At = p.Events[i].At.Round(time.Millisecond)
		}
	})
}
