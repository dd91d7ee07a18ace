package fsm

import (
	"context"
	"sync"
)

// progress is a number that only grows, and those who wait for it to. Safe for
// concurrent use.
type progress struct {
	mu      sync.Mutex
	at      uint64
	err     error // nothing will be reached any more
	waiting []waiter
}

type waiter struct {
	until uint64
	done  chan struct{}
}

func (p *progress) reach(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = max(p.at, n)
	p.wake()
}

// fail ends all waiting, now and later, with err.
func (p *progress) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.wake()
}

// wake lets those go whose wait is over. The caller holds mu.
func (p *progress) wake() {
	rest := p.waiting[:0]
	for _, w := range p.waiting {
		if w.until <= p.at || p.err != nil {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	clear(p.waiting[len(rest):])
	p.waiting = rest
}

// wait returns when n is reached, or with the error of ctx or of fail.
func (p *progress) wait(ctx context.Context, n uint64) error {
	w, err := p.enter(n)
	if w.done == nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		p.leave(w)
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at >= n {
		return nil
	}
	return p.err
}

func (p *progress) enter(n uint64) (waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.at >= n:
		return waiter{}, nil
	case p.err != nil:
		return waiter{}, p.err
	}
	w := waiter{n, make(chan struct{})}
	p.waiting = append(p.waiting, w)
	return w, nil
}

func (p *progress) leave(w waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.waiting {
		if x.done == w.done {
			last := len(p.waiting) - 1
			p.waiting[i], p.waiting[last] = p.waiting[last], waiter{}
			p.waiting = p.waiting[:last]
			return
		}
	}
}
