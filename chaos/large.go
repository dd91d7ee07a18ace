package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"farm/internal/crash"
	"farm/tasks"
)

// Large values travel in parts, and only then what refers to them. The points between the
// two, on the leader and on the worker.
var partPoints = []string{"upload.before-propose", "upload.kept", "report.carried", "patch.before-propose"}

const (
	largeWriters = 2
	largeRepeats = bigBytes / 12 // of a text of 12 bytes
)

// large is a value that was set, and is acknowledged or may have been set.
type large struct {
	space, text string
	acked       bool
}

// crashParts makes a node die at one of these points, while large values that no other is
// like are set by clients and by tasks. What was acknowledged must be whole then, and what
// was not, whole or not there.
func crashParts(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	point := partPoints[r.IntN(len(partPoints))]
	all := x.c.members()
	n := all[r.IntN(len(all))]
	at := 1 + r.IntN(3)
	if point == "report.carried" {
		at = 1 // it may be long before the node is given a second one
	}
	if err := x.kill(n); err != nil {
		return "", err
	}
	if err := x.c.spawn(n, fmt.Sprintf("%s=%s:%d", crash.Variable, point, at)); err != nil {
		return "", err
	}
	stop := x.writeLarge(ctx)
	err := x.diesOf(ctx, n, point)
	values := stop()
	if err != nil {
		return "", err
	}
	if err := x.c.spawn(n); err != nil {
		return "", err
	}
	acked, err := x.checkLarge(ctx, values)
	return fmt.Sprintf("%s died at %s, time %d; %d large values were acknowledged meanwhile, %d not", n.id, point, at, acked, len(values)-acked), err
}

// writeLarge sets large values in namespaces of their own until stop is called, which
// returns them.
func (x *run) writeLarge(ctx context.Context) (stop func() []*large) {
	ctx, cancel := context.WithCancel(ctx)
	var mu sync.Mutex
	var wg sync.WaitGroup
	var values []*large
	for i := range largeWriters {
		cl := x.load.clients[i%len(x.load.clients)]
		wg.Go(func() {
			for ctx.Err() == nil {
				k := x.number.Add(1)
				v := &large{space: fmt.Sprintf("large-%d", k), text: fmt.Sprintf("%012d", k)}
				mu.Lock()
				values = append(values, v)
				mu.Unlock()
				ns := cl.Namespace(v.space)
				var err error
				if i == 0 {
					err = ns.Set(ctx, "s", strings.Repeat(v.text, largeRepeats))
				} else {
					cell := fmt.Sprintf("import \"strings\"\ns := strings.Repeat(%q, %d)", v.text, largeRepeats)
					_, err = cl.Run(ctx, x.load.cell(tasks.Task{Namespace: v.space, Source: cell}))
				}
				v.acked = err == nil
				_ = rest(ctx, 100*time.Millisecond)
			}
		})
	}
	return func() []*large {
		cancel()
		wg.Wait()
		return values
	}
}

// checkLarge looks at large values, and removes them. It returns how many were acknowledged.
func (x *run) checkLarge(ctx context.Context, values []*large) (acked int, err error) {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	for _, v := range values {
		ns := x.load.clients[0].Namespace(v.space)
		if v.acked {
			acked++
		}
		i, err := ns.Exec(ctx, fmt.Sprintf("import \"strings\"\ns == strings.Repeat(%q, %d)", v.text, largeRepeats))
		var te *tasks.TaskError
		switch {
		case err == nil && string(i.Value) == "true":
		case err == nil:
			x.violate(promiseIntact, "the large value of %s is not what was set", v.space)
		case errors.As(err, &te) && te.Kind == "compile" && !v.acked: // nothing was set
		case errors.As(err, &te):
			x.violate(promiseDurable, "the large value of %s was acknowledged: %v", v.space, err)
		default:
			return acked, err
		}
		if err := ns.Drop(ctx); err != nil && !errors.Is(err, tasks.ErrNotFound) {
			return acked, err
		}
	}
	return acked, nil
}
