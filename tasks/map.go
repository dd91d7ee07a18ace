package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"farm/api"
)

// Limits and aims of a map.
const (
	// MaxChunk is the most inputs one task of a map gets.
	MaxChunk = 256
	// MaxChunkBytes bounds the inputs of one task of a map, unless a single
	// input is larger; and its results are kept to about half of it.
	MaxChunkBytes = 256 << 10
	// minWindow and maxWindow bound the tasks of a map in flight; between them
	// it is windowPerSlot for each slot of the farm.
	minWindow, maxWindow, windowPerSlot = 16, 128, 4
	// chunkAim is how long a task of a map should take: long enough that the
	// cost of a task does not matter, short enough to spread evenly.
	chunkAim = 100 * time.Millisecond
	// adaptEvery is how often the size of chunks is thought over.
	adaptEvery = 50 * time.Millisecond
	// partAfter is how long inputs that do not fill a chunk wait for more.
	partAfter = 20 * time.Millisecond
	// cancelTimeout bounds the attempt to cancel the job of a map given up.
	cancelTimeout = 5 * time.Second
)

// Map is a function to be called with each of many inputs.
type Map struct {
	// ID of the job; empty: NewID. A map repeated with the same ID, inputs and
	// a fixed Chunk gets what was finished the first time.
	ID string
	// Source is a program, Call the function of it to call once per input. A
	// function of two or more parameters takes a JSON array.
	Source string
	Call   string
	// FoldNamespace and FoldCall, when set, name a namespace and a function of
	// Source that is called there exactly once with each result.
	FoldNamespace string
	FoldCall      string
	// Continue folds on from what FoldNamespace holds. Otherwise Source is run
	// in it first, so that the variables it declares begin as it says.
	Continue bool
	// Engine runs the code, as in Task. FoldNamespace keeps the one it has.
	Engine string
	// Args can be read by the code.
	Args map[string]string
	// Files can be read by the code of every task, by name, with farm.ReadFile. All
	// together have at most MaxFiles bytes. They travel once for the job.
	Files map[string][]byte
	// Chunk is how many inputs go into one task; 0: as suits the time they take.
	Chunk int
	// Timeout and Retries of one task, which has Chunk inputs.
	Timeout  time.Duration
	Retries  int
	Priority int
	// Queue and Key of the tasks, as in Task.
	Queue, Key string
	// Backoff, BackoffMax and Keep of each task, as in Task.
	Backoff, BackoffMax time.Duration
	Keep                time.Duration
	// Labels that workers must have to be given the tasks.
	Labels map[string]string
}

// Values gives the elements of a slice as inputs of a map.
func Values[T any](values []T) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		for _, v := range values {
			j, err := json.Marshal(v)
			if !yield(j, err) || err != nil {
				return
			}
		}
	}
}

// MapRun is a map being carried out.
type MapRun struct {
	ID string // of the job

	c         *Client
	spec      Map
	inputs    iter.Seq2[json.RawMessage, error]
	submitted atomic.Int64
	completed atomic.Int64
}

// Map prepares a map over inputs; ranging over Results carries it out. Inputs
// are taken as they are needed, so there may be any number of them, of which
// few are in memory. They are taken on a goroutine of their own, and not any more
// after Results ended; so inputs that may block for long should end with the
// context.
func (c *Client) Map(spec Map, inputs iter.Seq2[json.RawMessage, error]) *MapRun {
	if spec.ID == "" {
		spec.ID = NewID()
	}
	return &MapRun{ID: spec.ID, c: c, spec: spec, inputs: inputs}
}

// Progress is how many inputs were submitted and how many of them are done, or
// for Submit, acknowledged. It can be called by any goroutine.
func (r *MapRun) Progress() (submitted, done int64) { return r.submitted.Load(), r.completed.Load() }

// Fold waits until every result has been folded and returns the task that
// folded the last of them, whose value is the fold's answer. Call it after
// Results ended without an error.
func (r *MapRun) Fold(ctx context.Context) (*Info, error) {
	job, err := r.c.WaitJob(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	if job.FoldFailed > 0 && job.FirstError != "" {
		return r.c.Wait(ctx, job.FirstError)
	}
	if job.LastFold == "" {
		return nil, fmt.Errorf("%w: job %s folded nothing", ErrNotFound, r.ID)
	}
	return r.c.Wait(ctx, job.LastFold)
}

// Results carries the map out and yields one result per input, in the order of
// inputs. An error is the last thing it yields: a *TaskError when the function
// failed on an input. When it ends early, for an error, the context or because
// the consumer stops, the job is cancelled. It can be used once.
func (r *MapRun) Results(ctx context.Context) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		m := &mapper{MapRun: r, target: max(r.spec.Chunk, 1)}
		finished, err := m.run(ctx, func(j json.RawMessage) bool { return yield(j, nil) })
		if !finished {
			m.cancel()
		}
		if err != nil {
			yield(nil, fmt.Errorf("map %s: %w", r.ID, err))
		}
	}
}

// mapper is the state of one Results loop.
type mapper struct {
	*MapRun
	opened bool
	slots  int
	room   int // tasks that may be in flight
	window []*chunk

	part    []json.RawMessage // the chunk being filled
	timer   *time.Timer       // partAfter from its first input
	bytes   int
	first   uint64
	ended   bool // no more inputs
	tasks   int
	target  int // inputs a chunk should have
	marked  time.Time
	markedN int64 // inputs completed then
	outN    int64 // results handed out, and their bytes
	outSize int64
}

// chunk is one task in flight.
type chunk struct {
	call *call
	n    int
	done chan chunkEnd
}

type chunkEnd struct {
	info *Info
	err  error
	n    int // inputs it had
}

type mapInput struct {
	json json.RawMessage
	err  error
}

// begin gives the fold's namespace the program, with its variables as the
// program begins. A map repeated with the same ID does not begin again.
func (m *mapper) begin(ctx context.Context) error {
	if m.spec.FoldNamespace == "" || m.spec.Continue {
		return nil
	}
	engine := m.spec.Engine
	if engine != "" { // one that holds something keeps its own
		info, err := m.c.Namespace(m.spec.FoldNamespace).Show(ctx)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && info.Items > 0 {
			engine = ""
		}
	}
	_, err := m.c.Run(ctx, Task{ID: m.ID + ".begin", Namespace: m.spec.FoldNamespace, Source: m.spec.Source, Engine: engine, Args: m.spec.Args, Files: m.spec.Files, Timeout: m.spec.Timeout})
	return err
}

// run reports whether the job came to its own end.
func (m *mapper) run(ctx context.Context, yield func(json.RawMessage) bool) (finished bool, err error) {
	if err := m.begin(ctx); err != nil {
		return true, err // there is no job yet
	}
	if err := m.open(ctx); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(ctx)
	inputs := make(chan mapInput, MaxChunk)
	var feeder sync.WaitGroup
	feeder.Go(func() { feed(ctx, m.inputs, inputs) })
	defer func() {
		cancel()
		for _, ch := range m.window {
			m.c.conn.abandon(ch.call)
		}
		feeder.Wait()
	}()
	m.timer = time.NewTimer(partAfter)
	defer m.timer.Stop()

	for !m.ended || len(m.part) > 0 || len(m.window) > 0 {
		if err := m.fill(ctx, inputs); err != nil {
			return false, err
		}
		more, head, late := m.choices(inputs)
		select {
		case in, ok := <-more:
			err = m.take(in, ok)
		case <-late:
			err = m.submit(ctx)
		case end := <-head:
			m.window = m.window[1:]
			var on bool
			if on, err = m.deliver(end, yield); err == nil && !on {
				return false, nil
			}
		case <-ctx.Done():
			err = contextError(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	_, err = m.c.SealJob(ctx, m.ID, m.tasks)
	return err == nil, err
}

func (m *mapper) open(ctx context.Context) error {
	if m.spec.Chunk < 0 || m.spec.Chunk > MaxChunk {
		return fmt.Errorf("%w: %d inputs a task; at most %d", ErrInvalid, m.spec.Chunk, MaxChunk)
	}
	_, err := m.c.OpenJob(ctx, JobSpec{ID: m.ID, Source: m.spec.Source, Call: m.spec.Call, FoldNamespace: m.spec.FoldNamespace, FoldCall: m.spec.FoldCall, Files: m.spec.Files, Engine: m.spec.Engine})
	if err != nil {
		return err
	}
	m.opened = true
	r, err := m.c.conn.do(ctx, &api.Call{Stale: true, Op: &api.Call_Status{Status: &api.GetStatus{}}}, false)
	if err != nil {
		return err
	}
	for _, w := range r.GetStatus().GetWorkers() {
		m.slots += int(w.Slots)
	}
	m.slots = max(m.slots, 1)
	m.room = min(max(windowPerSlot*m.slots, minWindow), maxWindow)
	m.marked = time.Now()
	return nil
}

// feed reads inputs ahead, on a goroutine of its own since reading may block.
func feed(ctx context.Context, inputs iter.Seq2[json.RawMessage, error], out chan<- mapInput) {
	defer close(out)
	n := 0
	for j, err := range inputs {
		if err == nil && !json.Valid(j) {
			err = fmt.Errorf("%w: input %d is not JSON", ErrInvalid, n)
		}
		n++
		select {
		case out <- mapInput{j, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// fill takes the inputs that are there and submits full chunks, while there is
// room.
func (m *mapper) fill(ctx context.Context, inputs <-chan mapInput) error {
	for len(m.window) < m.room {
		if len(m.part) > 0 && (m.full() || m.ended) {
			if err := m.submit(ctx); err != nil {
				return err
			}
			continue
		}
		if m.ended {
			return nil
		}
		select {
		case in, ok := <-inputs:
			if err := m.take(in, ok); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (m *mapper) full() bool { return len(m.part) >= m.target || m.bytes >= MaxChunkBytes }

// choices are the channels worth waiting for.
func (m *mapper) choices(inputs <-chan mapInput) (more <-chan mapInput, head <-chan chunkEnd, late <-chan time.Time) {
	if len(m.window) > 0 {
		head = m.window[0].done
	}
	if len(m.window) < m.room && !m.ended {
		more = inputs
		if len(m.part) > 0 && m.spec.Chunk == 0 {
			late = m.timer.C
		}
	}
	return more, head, late
}

// take adds an input to the chunk being filled.
func (m *mapper) take(in mapInput, ok bool) error {
	if !ok {
		m.ended = true
		return nil
	}
	if in.err != nil {
		return in.err
	}
	if len(m.part) == 0 {
		m.timer.Reset(partAfter)
	}
	m.part = append(m.part, in.json)
	m.bytes += len(in.json)
	return nil
}

// submit sends the chunk being filled.
func (m *mapper) submit(ctx context.Context) error {
	msg, err := m.chunk().submit(true)
	if err != nil {
		return err
	}
	ch := &chunk{n: len(m.part), done: make(chan chunkEnd, 1)}
	ch.call, err = m.c.conn.start(ctx, &api.Call{Op: &api.Call_Submit{Submit: msg}}, true, func(r *api.Reply, err error) {
		if err != nil {
			ch.done <- chunkEnd{nil, err, ch.n}
			return
		}
		m.completed.Add(int64(ch.n))
		i := newInfo(r.GetTask())
		ch.done <- chunkEnd{i, i.Err(), ch.n}
	})
	if err != nil {
		return err
	}
	m.window = append(m.window, ch)
	m.next()
	return nil
}

// chunk is the task of the chunk being filled.
func (m *mapper) chunk() *Task {
	return &Task{
		ID: chunkID(m.ID, m.first), Job: m.ID, First: m.first, Call: m.spec.Call, Inputs: m.part, Args: m.spec.Args,
		Timeout: m.spec.Timeout, Retries: m.spec.Retries, Priority: m.spec.Priority, Labels: m.spec.Labels, Queue: m.spec.Queue, Key: m.spec.Key,
		Backoff: m.spec.Backoff, BackoffMax: m.spec.BackoffMax, Keep: m.spec.Keep,
	}
}

// chunkID is the id of the task of a job that begins with input first. Results are
// found by it later.
func chunkID(job string, first uint64) string { return fmt.Sprintf("%s.%d", job, first) }

// next begins a new chunk after one that is on its way.
func (m *mapper) next() {
	m.submitted.Add(int64(len(m.part)))
	m.tasks++
	m.first += uint64(len(m.part))
	m.part, m.bytes = nil, 0
}

// deliver hands out the results of the oldest chunk; on is false when the
// consumer wants no more.
func (m *mapper) deliver(end chunkEnd, yield func(json.RawMessage) bool) (on bool, err error) {
	if end.err != nil {
		return false, end.err
	}
	if len(end.info.Results) != end.n {
		return false, fmt.Errorf("task %s has %d results for %d inputs", end.info.ID, len(end.info.Results), end.n)
	}
	for _, j := range end.info.Results {
		m.outN++
		m.outSize += int64(len(j))
		if !yield(j) {
			return false, nil
		}
	}
	m.adapt()
	return true, nil
}

// adapt sizes chunks so that one takes chunkAim on a slot, going up by doubling
// since small chunks make the farm look slower than it is.
func (m *mapper) adapt() {
	passed := time.Since(m.marked)
	if m.spec.Chunk > 0 || passed < adaptEvery {
		return
	}
	done := m.completed.Load()
	perSlot := float64(done-m.markedN) / float64(m.slots) / passed.Seconds()
	m.marked, m.markedN = time.Now(), done
	aim := int(perSlot * chunkAim.Seconds())
	if m.outN > 0 && m.outSize > 0 {
		aim = min(aim, int(MaxChunkBytes/2*m.outN/m.outSize))
	}
	m.target = min(max(aim, 1), 2*m.target, MaxChunk)
}

// cancel gives the job up, also when the caller's context is over.
func (m *mapper) cancel() {
	if !m.opened {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), cancelTimeout)
	defer cancel()
	_, _ = m.c.CancelJob(ctx, m.ID) // best effort: the farm may be what failed
}

// Submit hands the whole map over to the farm: when it returns, every input is
// in a durable task and the job goes on without this program. Job and WaitJob
// follow it, JobResults has its results. Use it instead of Results. Without results to
// go by, Chunk 0 means small chunks first and larger ones after them. When it
// fails the job is cancelled; the farm's limit of unfinished tasks applies to the
// job as a whole.
func (r *MapRun) Submit(ctx context.Context) (*Job, error) {
	m := &mapper{MapRun: r, target: max(r.spec.Chunk, 1)}
	job, err := m.handOver(ctx)
	if err != nil {
		m.cancel()
		return nil, fmt.Errorf("map %s: %w", r.ID, err)
	}
	return job, nil
}

func (m *mapper) handOver(ctx context.Context) (*Job, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	if err := m.open(ctx); err != nil {
		return nil, err
	}
	// Acknowledgements come back on the connection's goroutine; each gives its place
	// back, so that ends holds one of every place taken.
	ends := make(chan error, maxWindow)
	for range maxWindow {
		ends <- nil
	}
	n := 0
	for in, err := range m.inputs {
		if err == nil && !json.Valid(in) {
			err = fmt.Errorf("%w: input %d is not JSON", ErrInvalid, n)
		}
		n++
		if err != nil {
			return nil, err
		}
		m.part = append(m.part, in)
		m.bytes += len(in)
		if m.full() {
			if err := m.handOverChunk(ctx, ends); err != nil {
				return nil, err
			}
		}
	}
	if len(m.part) > 0 {
		if err := m.handOverChunk(ctx, ends); err != nil {
			return nil, err
		}
	}
	for range maxWindow {
		if err := place(ctx, ends); err != nil {
			return nil, err
		}
	}
	return m.c.SealJob(ctx, m.ID, m.tasks)
}

// place takes a place for a chunk, or says what became of the one that had it.
func place(ctx context.Context, ends <-chan error) error {
	select {
	case err := <-ends:
		return err
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// growEvery is after how many tasks for each slot the chunks of a map that is
// handed over double.
const growEvery = 4

func (m *mapper) handOverChunk(ctx context.Context, ends chan error) error {
	if err := place(ctx, ends); err != nil {
		return err
	}
	msg, err := m.chunk().submit(false)
	if err != nil {
		return err
	}
	n := int64(len(m.part))
	_, err = m.c.conn.start(ctx, &api.Call{Op: &api.Call_Submit{Submit: msg}}, false, func(_ *api.Reply, err error) {
		if err == nil {
			m.completed.Add(n)
		}
		ends <- err
	})
	if err != nil {
		return err
	}
	m.next()
	if m.spec.Chunk == 0 && m.tasks%(growEvery*m.slots) == 0 {
		m.target = min(2*m.target, MaxChunk)
	}
	return nil
}
