package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"farm/tasks"
)

// The kinds of calls.
const (
	opAdd     = "add"     // a task: n++
	opLong    = "long"    // the same, and takes its time
	opDelayed = "delayed" // the same, some time later
	opTwice   = "twice"   // the same, asked for three times with one id
	opRead    = "read"    // of n
	opMove    = "move"    // a task: from a to b, and their sum
	opPay     = "pay"     // a task: from m of a namespace to m of another, by a task that it submits
	opBounce  = "bounce"  // the same, and then it panics
	opSet     = "set"     // of r
	opGet     = "get"     // of r
	opSwap    = "swap"    // a task: r becomes Arg if it is Expected
	opAppend  = "append"  // a task in a deep queue: its number goes to the end of a list
	opFail    = "fail"    // a task: n++, and then it panics
	opTimeout = "timeout" // a task: n++, and then it never ends
	opKill    = "kill"    // a task: n++, and then its process dies
	opBig     = "big"     // a task: s becomes a string of bigBytes letters
	opBigGet  = "big-get" // of s
	opAgain   = "again"   // the result of a task that ended before
)

const (
	countSpaces = 6
	bankSpaces  = 3
	wordSpaces  = 3
	badSpaces   = 2
	perSpace    = 1500 // calls in one namespace; then another takes its place
	queueDepth  = 60   // tasks submitted to a deep queue
	bankTotal   = 1000
	bigBytes    = 600_000
	patience    = time.Minute            // how long most calls may take
	impatience  = 700 * time.Millisecond // how long some calls may take
	longTask    = 250 * time.Millisecond
)

// Traffic is what clients do while faults are injected.
type Traffic struct {
	Clients int
	// Mix is how often each kind of call is made, relative to the others.
	Mix map[string]int
	// Pause is how long a client rests between two calls, on average.
	Pause time.Duration
}

// everyday is traffic of all kinds.
var everyday = map[string]int{opAdd: 30, opLong: 3, opDelayed: 2, opTwice: 6, opRead: 30, opMove: 10, opPay: 8, opBounce: 1, opSet: 6, opGet: 10, opSwap: 8, opAppend: 1, opFail: 2, opTimeout: 1, opKill: 1, opAgain: 10}

func with(mix map[string]int, more map[string]int) map[string]int {
	out := map[string]int{}
	for k, v := range mix {
		out[k] = v
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

// load is traffic under way.
type load struct {
	Traffic
	h       *history
	clients []*tasks.Client
	violate func(promise, format string, args ...any)
	seed    uint64

	mu     sync.Mutex
	spaces map[string]*generation // by slot
	ended  []*Op                  // tasks that ended, for opAgain
	stop   chan struct{}
	done   sync.WaitGroup
	queues atomic.Int64
	engine string // of cells; empty: that of the farm
	asked  asked
}

// generation is the namespace that stands for a slot at present.
type generation struct {
	name  string
	used  int
	ready sync.Once
	err   error
}

func (l *load) start(ctx context.Context) {
	l.spaces, l.stop = map[string]*generation{}, make(chan struct{})
	if l.wantsQueues() {
		l.done.Go(func() { l.halt(ctx, rand.New(rand.NewPCG(l.seed, 0))) })
	}
	var kinds []string
	for _, k := range []string{opAdd, opLong, opDelayed, opTwice, opRead, opMove, opPay, opBounce, opSet, opGet, opSwap, opAppend, opFail, opTimeout, opKill, opBig, opBigGet, opAgain,
		opHandler, opQueued, opUnique, opAfter} {
		for range l.Mix[k] {
			kinds = append(kinds, k)
		}
	}
	for i := range l.Clients {
		r := rand.New(rand.NewPCG(l.seed, uint64(i)+1))
		l.done.Go(func() {
			for !l.stopped(ctx) {
				l.one(ctx, i, r, kinds[r.IntN(len(kinds))])
				if l.Pause > 0 {
					_ = rest(ctx, time.Duration(r.Int64N(int64(2*l.Pause))))
				}
			}
		})
	}
}

func (l *load) stopped(ctx context.Context) bool {
	select {
	case <-l.stop:
		return true
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// end lets the calls under way be answered.
func (l *load) end() {
	close(l.stop)
	l.done.Wait()
}

// space gives the namespace of a slot, made and filled.
func (l *load) space(ctx context.Context, c *tasks.Client, slot string, values map[string]any) (string, error) {
	l.mu.Lock()
	g := l.spaces[slot]
	if g == nil || g.used >= perSpace {
		number := 1
		if g != nil {
			_, _ = fmt.Sscanf(g.name[strings.LastIndexByte(g.name, '.')+1:], "%d", &number)
			number++
		}
		g = &generation{name: fmt.Sprintf("%s.%d", slot, number)}
		l.spaces[slot] = g
	}
	g.used++
	l.mu.Unlock()
	g.ready.Do(func() { g.err = l.fill(ctx, c, g.name, values) })
	return g.name, g.err
}

// fill makes a namespace. It keeps the engine of its first cell, and cells of other
// namespaces send it some that ask for none: so where one is asked for the variables are
// made by a cell.
func (l *load) fill(ctx context.Context, c *tasks.Client, name string, values map[string]any) error {
	if l.engine != "" {
		source := ""
		for _, k := range slices.Sorted(maps.Keys(values)) {
			source += fmt.Sprintf("%s := %#v\n", k, values[k])
		}
		_, err := c.Run(ctx, l.cell(tasks.Task{Namespace: name, Source: source}))
		return err
	}
	for k, v := range values {
		if err := c.Namespace(name).Set(ctx, k, v); err != nil {
			return err
		}
	}
	return nil
}

// cell is a task that is a cell, with the engine of the traffic.
func (l *load) cell(t tasks.Task) tasks.Task {
	t.Engine = l.engine
	return t
}

// one makes one call.
func (l *load) one(ctx context.Context, id int, r *rand.Rand, kind string) {
	limit := patience
	if r.IntN(20) == 0 {
		limit = impatience
	}
	c := l.clients[id%len(l.clients)]
	prepare, cancelPrepare := context.WithTimeout(ctx, patience)
	defer cancelPrepare()
	slot, values := slotOf(kind, r)
	name := ""
	if slot != "" {
		var err error
		if name, err = l.space(prepare, c, slot, values); err != nil {
			if ctx.Err() == nil {
				l.violate(promiseLive, "a namespace could not be made: %v", err)
			}
			return
		}
	}
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	o := &Op{Client: id, Kind: kind, Namespace: name, Arg: 1 + r.IntN(9), Expected: 1 + r.IntN(9)}
	switch kind {
	case opRead, opGet, opBigGet:
		l.get(call, c, o)
	case opSet:
		l.h.call(o)
		l.answer(o, c.Namespace(name).Set(call, "r", o.Arg), nil)
	case opAppend:
		l.deepQueue(call, id, c)
	case opAgain:
		l.again(call, r)
	case opPay, opBounce:
		l.pay(prepare, call, c, o, r)
	case opHandler, opQueued, opUnique, opAfter:
		l.more(call, c, o, r)
	default:
		l.task(call, c, o)
	}
}

// slotOf is where a kind of call goes, and what must be there.
func slotOf(kind string, r *rand.Rand) (string, map[string]any) {
	switch kind {
	case opMove:
		return fmt.Sprintf("bank-%d", r.IntN(bankSpaces)), map[string]any{"a": bankTotal, "b": 0}
	case opPay, opBounce:
		return purse(r.IntN(purses))
	case opSet, opGet, opSwap:
		return fmt.Sprintf("word-%d", r.IntN(wordSpaces)), map[string]any{"r": 0}
	case opBig, opBigGet:
		return "big-0", map[string]any{"s": ""}
	case opAppend, opAgain, opHandler, opQueued, opUnique:
		return "", nil
	case opAfter:
		return fmt.Sprintf("after-%d", r.IntN(childSpaces)), map[string]any{"n": 0}
	case opTimeout, opKill:
		return fmt.Sprintf("bad-%d", r.IntN(badSpaces)), map[string]any{"n": 0}
	}
	return fmt.Sprintf("count-%d", r.IntN(countSpaces)), map[string]any{"n": 0}
}

// source is the cell of a kind of call.
func source(o *Op) string {
	switch o.Kind {
	case opLong:
		return fmt.Sprintf("import \"time\"\ntime.Sleep(%d)\nn++\nn", longTask)
	case opMove:
		return fmt.Sprintf("a -= %d\nb += %d\na + b", o.Arg, o.Arg)
	case opPay, opBounce:
		return payment(o)
	case opSwap:
		return fmt.Sprintf("if r == %d {\n\tr = %d\n}\nr", o.Expected, o.Arg)
	case opFail:
		return "n++\nvar none map[string]int\nnone[\"a\"] = 1"
	case opTimeout:
		return "n++\nfor {\n}"
	case opKill:
		return "import \"time\"\nn++\ngo func() { panic(\"boom\") }()\ntime.Sleep(5 * time.Second)"
	case opBig:
		return fmt.Sprintf("import \"strings\"\nif s != \"\" && strings.Count(s, s[:1]) != %d {\n\tpanic(\"torn\")\n}\ns = strings.Repeat(%q, %d)\nlen(s)", bigBytes, letter(o.Arg), bigBytes)
	}
	return "n++\nn"
}

func letter(n int) string { return string(rune('a' + n)) }

// expectedFailure is the kind of failure that a kind of call must end with.
var expectedFailure = map[string]string{opFail: "panic", opTimeout: "timeout", opKill: "panic", opBounce: "panic", opRefuse: "error"}

func (l *load) task(ctx context.Context, c *tasks.Client, o *Op) {
	o.Task = tasks.NewID()
	t := l.cell(tasks.Task{ID: o.Task, Namespace: o.Namespace, Source: source(o)})
	switch o.Kind {
	case opTimeout:
		t.Timeout = 300 * time.Millisecond
	case opKill:
		t.Retries = 1
	case opDelayed:
		t.Delay = 200 * time.Millisecond
	}
	l.h.call(o)
	if o.Kind == opTwice { // by another client, at the same time
		other := l.clients[(o.Client+1)%len(l.clients)]
		l.done.Go(func() { _, _ = other.Submit(ctx, t) })
	}
	i, err := c.Run(ctx, t)
	l.answer(o, err, i)
	if o.Kind == opTwice && o.acked() { // and once more, now that it is done
		if i, err := l.clients[(o.Client+2)%len(l.clients)].Run(ctx, t); err == nil {
			l.same(o, i)
		}
	}
	if o.acked() {
		l.mu.Lock()
		l.ended = append(l.ended, o)
		l.mu.Unlock()
	}
}

func (l *load) answer(o *Op, err error, i *tasks.Info) {
	l.h.answer(o, func(o *Op) {
		var te *tasks.TaskError
		switch {
		case err == nil && i == nil:
			o.Outcome = answered
		case err == nil:
			o.Outcome = answered
			o.Attempt = i.Attempt
			if e := json.Unmarshal(i.Value, &o.Value); e != nil {
				o.Error = e.Error()
			}
		case errors.As(err, &te) && i != nil:
			o.Outcome, o.Failure, o.Error, o.Attempt = failed, te.Kind, te.Message, i.Attempt
		case errors.Is(err, tasks.ErrLimit), errors.Is(err, tasks.ErrConflict), errors.Is(err, tasks.ErrInvalid), errors.Is(err, tasks.ErrNotFound):
			o.Outcome, o.Error = refused, err.Error()
		default:
			o.Outcome, o.Error = unknown, err.Error()
		}
	})
}

func (l *load) get(ctx context.Context, c *tasks.Client, o *Op) {
	key := map[string]string{opRead: "n", opGet: "r", opBigGet: "s"}[o.Kind]
	l.h.call(o)
	v, err := c.Namespace(o.Namespace).Variable(ctx, key)
	value := 0
	if err == nil {
		value, err = number(v.JSON)
		if err != nil {
			l.violate(promiseIntact, "%s.%s is %.80s: %v", o.Namespace, key, v.JSON, err)
		}
	}
	l.h.answer(o, func(o *Op) {
		if o.Outcome, o.Value = answered, value; err != nil {
			o.Outcome, o.Error = unknown, err.Error()
		}
	})
}

// number reads a number, or a string of one letter as the number of that: whole, or
// the beginning of it when it is too long to be shown.
func number(b []byte) (n int, err error) {
	var s string
	var cut struct {
		String string `json:"$string"`
	}
	switch {
	case len(b) > 0 && b[0] == '"':
		err = json.Unmarshal(b, &s)
	case len(b) > 0 && b[0] == '{':
		err = json.Unmarshal(b, &cut)
		s = cut.String
	default:
		err = json.Unmarshal(b, &n)
		return n, err
	}
	if err != nil || s == "" {
		return 0, err
	}
	if strings.Count(s, s[:1]) != len(s) {
		return 0, errors.New("not the letters that were set")
	}
	return int(s[0] - 'a'), nil
}

// deepQueue submits many tasks to a namespace of their own, one after the other,
// and waits for the last.
func (l *load) deepQueue(ctx context.Context, id int, c *tasks.Client) {
	name := fmt.Sprintf("queue-%d", l.queues.Add(1))
	o := l.h.call(&Op{Client: id, Kind: opSet, Namespace: name})
	err := l.fill(ctx, c, name, map[string]any{"list": []int{}})
	l.answer(o, err, nil)
	if err != nil {
		return
	}
	for i := range queueDepth {
		if l.stopped(ctx) {
			return
		}
		o := l.h.call(&Op{Client: id, Kind: opAppend, Namespace: name, Task: tasks.NewID(), Arg: i + 1})
		_, err := c.Submit(ctx, l.cell(tasks.Task{ID: o.Task, Namespace: name, Source: fmt.Sprintf("list = append(list, %d)", i+1)}))
		l.h.answer(o, func(o *Op) {
			if o.Outcome = answered; err != nil {
				o.Outcome, o.Error = unknown, err.Error()
			}
		})
		if err != nil {
			return
		}
	}
}

// again asks any node for the result of a task that ended.
func (l *load) again(ctx context.Context, r *rand.Rand) {
	l.mu.Lock()
	if len(l.ended) == 0 {
		l.mu.Unlock()
		return
	}
	o := l.ended[r.IntN(len(l.ended))]
	l.mu.Unlock()
	i, err := l.clients[r.IntN(len(l.clients))].Get(ctx, o.Task)
	if err == nil {
		l.same(o, i)
	} else if errors.Is(err, tasks.ErrNotFound) {
		l.violate(promiseDurable, "task %s was acknowledged, and is not there", o.Task)
	}
}

// same checks that a task is what its answer said.
func (l *load) same(o *Op, i *tasks.Info) {
	value, kind := 0, ""
	if i.Value != nil {
		_ = json.Unmarshal(i.Value, &value)
	}
	if i.Error != nil {
		kind = i.Error.Kind
	}
	if !i.State.Final() || value != o.Value || kind != o.Failure || i.Attempt != o.Attempt {
		l.violate(promiseOnce, "the result of task %s changed: it was %d %q of attempt %d, it is %s %d %q of attempt %d",
			o.Task, o.Value, o.Failure, o.Attempt, i.State, value, kind, i.Attempt)
	}
}

func (l *load) clientsOrNone() []*tasks.Client {
	if l == nil {
		return nil
	}
	return l.clients
}
