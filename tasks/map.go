package tasks

import (
	"bytes"
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
	// minWindow and maxWindow bound the tasks of a map whose results are waited for;
	// between them it is windowPerSlot for each slot of the farm.
	minWindow, maxWindow, windowPerSlot = 16, 128, 4
	// maxAhead and maxAheadBytes bound what is handed to the farm beyond the results
	// that were taken: tasks, and bytes of their inputs. aheadResults bounds the bytes
	// that their results are expected to have: the farm keeps them, but not for ever.
	maxAhead, maxAheadBytes, aheadResults = 16_384, 64 << 20, 1 << 30
	// steady is how often in a row the size of chunks must have been found right
	// before more is handed over than a window.
	steady = 3
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
	// ID of the job; empty: NewID. A map repeated with the same ID and inputs gets
	// what was finished the first time, and carries on from there.
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
// inputs. For an input that the function fails with it yields an *InputError, and
// goes on with the next; any other error is the last thing it yields. Inputs are
// handed to the farm as fast as it takes them, up to some way ahead of the results,
// and few results are in memory. When it ends early, for an error, the context or
// because the consumer stops, the job is cancelled; when this program dies the job
// goes on with what it has, and a Map with the same ID and inputs carries on from
// there. It can be used once.
func (r *MapRun) Results(ctx context.Context) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		m := newMapper(r)
		finished, err := m.run(ctx, yield)
		if !finished {
			m.cancel()
		}
		if err != nil {
			yield(nil, fmt.Errorf("map %s: %w", r.ID, err))
		}
	}
}

// mapper is the state of one Results loop, or of one Submit.
type mapper struct {
	*MapRun
	opened bool
	there  uint64 // tasks that the job had when it was opened: it is carried on
	slots  int
	room   int // tasks whose results may be waited for

	target atomic.Int64 // inputs a chunk should have

	// Of the goroutine that sends.
	part  []json.RawMessage // the chunk being filled
	timer *time.Timer       // partAfter from its first input
	bytes int
	first uint64
	ended bool // no more inputs
	tasks int

	// Of the goroutine that yields.
	window  []*chunk
	marked  time.Time
	markedN int64         // inputs completed then
	yielded time.Duration // spent by the consumer since
	right   int           // how often in a row the target was right
	outN    int64         // results handed out, and their bytes
	outSize int64

	flow  *flow
	sent  chan *chunk   // in order
	taken chan struct{} // closed when all results were
}

func newMapper(r *MapRun) *mapper {
	m := &mapper{MapRun: r, sent: make(chan *chunk, maxAhead), taken: make(chan struct{})}
	m.target.Store(int64(max(r.spec.Chunk, 1)))
	return m
}

// chunk is one task that was sent.
type chunk struct {
	id    string
	first uint64
	n     int
	size  int
	acked chan error // it is durable, when its result was not asked for with it
	done  chan chunkEnd
	call  *call // that waits for its result, nil before
}

type chunkEnd struct {
	info *Info // when the task came to its end, even a bad one
	err  error
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
	_, err := m.c.Run(ctx, Task{ID: m.ID + ".begin", Namespace: m.spec.FoldNamespace, Source: m.spec.Source, Args: m.spec.Args, Files: m.spec.Files, Timeout: m.spec.Timeout})
	return err
}

// run reports whether the job came to its own end. One goroutine sends, this one
// yields what comes back.
func (m *mapper) run(ctx context.Context, yield func(json.RawMessage, error) bool) (finished bool, err error) {
	if err := m.begin(ctx); err != nil {
		return true, err // there is no job yet
	}
	if err := m.open(ctx); err != nil {
		return false, err
	}
	m.flow = newFlow(m.room)
	ctx, cancel := context.WithCancel(ctx)
	var sender sync.WaitGroup
	var sendErr error
	sender.Go(func() {
		sendErr = m.send(ctx)
		close(m.sent)
		if sendErr == nil {
			sendErr = m.seal(ctx)
		}
	})
	defer func() {
		cancel()
		for _, ch := range m.window {
			if ch.call != nil {
				m.c.conn.abandon(ch.call)
			}
		}
		sender.Wait()
		for ch := range m.sent {
			if ch.call != nil {
				m.c.conn.abandon(ch.call)
			}
		}
	}()
	on, err := m.receive(ctx, yield)
	if err != nil || !on {
		return false, err
	}
	close(m.taken)
	sender.Wait()
	return sendErr == nil, sendErr
}

// sealEvery is the pause between attempts to seal a job while some of its tasks may
// still be on their way.
const sealEvery = 100 * time.Millisecond

// seal seals the job as soon as everything is submitted: from then on the job needs
// no client. It is refused while tasks are on their way, but not any more when all
// their results are there.
func (m *mapper) seal(ctx context.Context) error {
	for last := false; ; {
		_, err := m.c.SealJob(ctx, m.ID, m.tasks)
		if last || !errors.Is(err, ErrConflict) {
			return err
		}
		select {
		case <-m.taken:
			last = true
		case <-time.After(sealEvery):
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
}

// receive yields the results of what is sent until there is no more, or, when on is
// false, no more is wanted.
func (m *mapper) receive(ctx context.Context, yield func(json.RawMessage, error) bool) (on bool, err error) {
	sent := m.sent
	for sent != nil || len(m.window) > 0 {
		var next <-chan *chunk
		if len(m.window) < m.room {
			next = sent
		}
		var head <-chan chunkEnd
		if len(m.window) > 0 {
			head = m.window[0].done
		}
		select {
		case ch, ok := <-next:
			if !ok {
				sent = nil
				continue
			}
			if err := m.await(ctx, ch); err != nil {
				return false, err
			}
			m.window = append(m.window, ch)
		case end := <-head:
			on, err := m.deliver(ctx, end, yield)
			if err != nil || !on {
				return false, err
			}
		case <-ctx.Done():
			return false, contextError(ctx)
		}
	}
	return true, nil
}

// await asks for the result of a chunk, once it is durable.
func (m *mapper) await(ctx context.Context, ch *chunk) error {
	if ch.call != nil {
		return nil
	}
	if ch.acked != nil {
		select {
		case err := <-ch.acked:
			if err != nil {
				return err
			}
			ch.acked = nil
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
	var err error
	wait := &api.Wait{Id: ch.id, Timeout: int64(waitRound)}
	ch.call, err = m.c.conn.start(ctx, &api.Call{Op: &api.Call_Wait{Wait: wait}}, true, m.ends(ch))
	return err
}

// ends notes the end of a chunk.
func (m *mapper) ends(ch *chunk) func(*api.Reply, error) {
	return func(r *api.Reply, err error) {
		if err != nil {
			ch.done <- chunkEnd{nil, err}
			return
		}
		m.completed.Add(int64(ch.n))
		ch.done <- chunkEnd{newInfo(r.GetTask()), nil}
	}
}

// open makes the job, or finds the one that is to be carried on.
func (m *mapper) open(ctx context.Context) error {
	if m.spec.Chunk < 0 || m.spec.Chunk > MaxChunk {
		return fmt.Errorf("%w: %d inputs a task; at most %d", ErrInvalid, m.spec.Chunk, MaxChunk)
	}
	job, err := m.c.openJob(ctx, JobSpec{ID: m.ID, Source: m.spec.Source, Call: m.spec.Call, FoldNamespace: m.spec.FoldNamespace, FoldCall: m.spec.FoldCall, Files: m.spec.Files})
	if err != nil {
		return err
	}
	m.opened, m.there = true, job.Total
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

// send submits all inputs, in chunks, as far ahead of the results as flow allows.
// What it has sent when it fails is in m.sent.
func (m *mapper) send(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	inputs := make(chan mapInput, MaxChunk)
	var feeder sync.WaitGroup
	feeder.Go(func() { feed(ctx, m.inputs, inputs) })
	defer feeder.Wait()
	defer cancel()
	m.timer = time.NewTimer(partAfter)
	defer m.timer.Stop()
	if err := m.carryOn(ctx, inputs, m.sendAgain); err != nil {
		return err
	}
	for {
		if err := m.flow.wait(ctx); err != nil {
			return err
		}
		if err := m.fill(ctx, inputs); err != nil || len(m.part) == 0 {
			return err
		}
		if err := m.submit(ctx); err != nil {
			return err
		}
	}
}

// fill takes inputs until they make a chunk: enough of them, the last of them, or
// those that came before it took too long.
func (m *mapper) fill(ctx context.Context, inputs <-chan mapInput) error {
	for !m.ended && !m.full() {
		var late <-chan time.Time
		if len(m.part) > 0 && m.spec.Chunk == 0 {
			late = m.timer.C
		}
		select {
		case in, ok := <-inputs:
			if err := m.take(in, ok); err != nil {
				return err
			}
		case <-late:
			return nil
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
	return nil
}

func (m *mapper) full() bool {
	return len(m.part) >= int(m.target.Load()) || m.bytes >= MaxChunkBytes
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
	if len(m.part) == 0 && m.timer != nil {
		m.timer.Reset(partAfter)
	}
	m.part = append(m.part, in.json)
	m.bytes += len(in.json)
	return nil
}

// submit sends the chunk being filled: to be answered with its result when that can
// be waited for at once, else to be answered when it is durable.
func (m *mapper) submit(ctx context.Context) error {
	ch := m.newChunk()
	now := m.flow.take(ch.size)
	msg, err := m.task().submit(now)
	if err != nil {
		return err
	}
	then := m.ends(ch)
	if !now {
		ch.acked = make(chan error, 1)
		then = func(_ *api.Reply, err error) { ch.acked <- err }
	}
	call, err := m.c.conn.start(ctx, &api.Call{Op: &api.Call_Submit{Submit: msg}}, now, then)
	if err != nil {
		return err
	}
	if now {
		ch.call = call
	}
	m.next()
	m.sent <- ch // it has room for all that flow allows
	return nil
}

// newChunk is the chunk being filled.
func (m *mapper) newChunk() *chunk {
	return &chunk{id: chunkID(m.ID, m.first), first: m.first, n: len(m.part), size: m.bytes, done: make(chan chunkEnd, 1)}
}

// task is the task of the chunk being filled.
func (m *mapper) task() *Task {
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

// ---- carrying on ----

// carryOn takes the inputs of the tasks that the job has already from the input,
// and calls had with each, as the chunk being filled. They must be the same as they
// were. With a fixed Chunk there is nothing to look up: the same tasks are asked
// for again.
func (m *mapper) carryOn(ctx context.Context, inputs <-chan mapInput, had func(context.Context) error) error {
	if m.there == 0 || m.spec.Chunk > 0 {
		return nil
	}
	for {
		t, err := m.chunkThere(ctx, m.first)
		if err != nil {
			return err
		}
		if t == nil { // the end, or one that was never acknowledged
			n, err := m.gap(ctx)
			if err != nil || n == 0 {
				return err
			}
			if err := m.takeN(ctx, inputs, n); err != nil {
				return err
			}
		} else if err := m.takeSame(ctx, inputs, t); err != nil {
			return err
		}
		if err := had(ctx); err != nil {
			return err
		}
	}
}

// chunkThere is the job's task that begins with an input, nil when there is none.
func (m *mapper) chunkThere(ctx context.Context, first uint64) (*api.Task, error) {
	r, err := m.c.conn.do(ctx, &api.Call{Op: &api.Call_GetTask{GetTask: &api.GetTask{Id: chunkID(m.ID, first), Inputs: true}}}, false)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return r.GetTask(), err
}

// gap is how many inputs there are before the next task of the job, 0 when there is
// no other: tasks that were on their way when a client died may be durable without
// one before them.
func (m *mapper) gap(ctx context.Context) (int, error) {
	if uint64(m.tasks) >= m.there {
		return 0, nil
	}
	for n := 1; n <= MaxChunk; n++ {
		t, err := m.chunkThere(ctx, m.first+uint64(n))
		if err != nil {
			return 0, err
		}
		if t != nil {
			return n, nil
		}
	}
	return 0, nil
}

// takeN takes the next n inputs, all there are if they are fewer.
func (m *mapper) takeN(ctx context.Context, inputs <-chan mapInput, n int) error {
	for len(m.part) < n && !m.ended {
		select {
		case in, ok := <-inputs:
			if err := m.take(in, ok); err != nil {
				return err
			}
		case <-ctx.Done():
			return contextError(ctx)
		}
	}
	return nil
}

// takeSame takes the inputs of a task that is there.
func (m *mapper) takeSame(ctx context.Context, inputs <-chan mapInput, t *api.Task) error {
	if err := m.takeN(ctx, inputs, len(t.GetInputs())); err != nil {
		return err
	}
	same := len(m.part) > 0 && len(m.part) == len(t.GetInputs())
	for i := 0; same && i < len(m.part); i++ {
		same = bytes.Equal(m.part[i], t.GetInputs()[i])
	}
	if !same {
		return fmt.Errorf("%w: job %s has other inputs, from input %d on", ErrConflict, m.ID, m.first)
	}
	return nil
}

// sendAgain submits a chunk of a job that is carried on: the same request again
// where it was made before.
func (m *mapper) sendAgain(ctx context.Context) error {
	if err := m.flow.wait(ctx); err != nil {
		return err
	}
	m.target.Store(max(m.target.Load(), int64(len(m.part))))
	return m.submit(ctx)
}

// ---- results ----

// deliver hands out the results of the oldest chunk; on is false when the
// consumer wants no more.
func (m *mapper) deliver(ctx context.Context, end chunkEnd, yield func(json.RawMessage, error) bool) (on bool, err error) {
	ch := m.window[0]
	if errors.Is(end.err, ErrTimeout) && ctx.Err() == nil { // one round of waiting is over
		ch.call = nil
		return true, m.await(ctx, ch)
	}
	m.window = m.window[1:]
	if end.err != nil {
		return false, end.err
	}
	begun := time.Now()
	n, on, err := m.c.taskResults(ctx, end.info, func(j json.RawMessage, err error) bool {
		m.outN++
		m.outSize += int64(len(j))
		return yield(j, err)
	})
	switch {
	case err != nil || !on:
		return false, err
	case n != ch.n:
		return false, fmt.Errorf("%w: task %s has %d inputs, not %d: is it of another map?", ErrConflict, ch.id, n, ch.n)
	}
	m.yielded += time.Since(begun)
	m.flow.give(ch.size)
	m.adapt()
	return true, nil
}

// adapt sizes chunks so that one takes chunkAim on a slot, going up by doubling
// since small chunks make the farm look slower than it is. When the size is right
// more may be handed over.
func (m *mapper) adapt() {
	if m.spec.Chunk > 0 {
		m.flow.allow(m.ahead())
		return
	}
	passed := time.Since(m.marked) - m.yielded
	if passed < adaptEvery {
		return
	}
	done := m.completed.Load()
	perSlot := float64(done-m.markedN) / float64(m.slots) / passed.Seconds()
	m.marked, m.markedN, m.yielded = time.Now(), done, 0
	aim := int(perSlot * chunkAim.Seconds())
	if m.outN > 0 && m.outSize > 0 {
		aim = min(aim, int(MaxChunkBytes/2*m.outN/m.outSize))
	}
	old := int(m.target.Load())
	target := min(max(aim, 1), 2*old, MaxChunk)
	m.target.Store(int64(target))
	if target > old {
		m.right = 0
		return
	}
	if m.right++; m.right >= steady {
		m.flow.allow(m.ahead())
	}
}

// ahead is how many tasks may be handed over beyond the results taken, so that what
// the farm keeps of them stays small.
func (m *mapper) ahead() int {
	perTask := m.outSize * m.target.Load() / max(m.outN, 1)
	return int(min(max(aheadResults/max(perTask, 1), int64(m.room)), maxAhead))
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
	m := newMapper(r)
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
	ctx, cancel := context.WithCancel(ctx)
	inputs := make(chan mapInput, MaxChunk)
	var feeder sync.WaitGroup
	feeder.Go(func() { feed(ctx, m.inputs, inputs) })
	defer feeder.Wait()
	defer cancel()
	// Acknowledgements come back on the connection's goroutine; each gives its place
	// back, so that ends holds one of every place taken.
	ends := make(chan error, maxWindow)
	for range maxWindow {
		ends <- nil
	}
	send := func(ctx context.Context) error { return m.handOverChunk(ctx, ends) }
	if err := m.carryOn(ctx, inputs, send); err != nil {
		return nil, err
	}
	for {
		if err := m.takeChunk(ctx, inputs); err != nil {
			return nil, err
		}
		if len(m.part) == 0 {
			break
		}
		if err := send(ctx); err != nil {
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

// takeChunk takes inputs until they make a chunk, or there are no more.
func (m *mapper) takeChunk(ctx context.Context, inputs <-chan mapInput) error {
	for !m.ended && !m.full() {
		if err := m.takeN(ctx, inputs, len(m.part)+1); err != nil {
			return err
		}
	}
	return nil
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
	msg, err := m.task().submit(false)
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
		m.target.Store(min(2*m.target.Load(), MaxChunk))
	}
	return nil
}
