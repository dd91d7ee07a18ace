package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"farm/api"
)

// Limits of a client.
const (
	// DefaultTimeout is how long a call is tried while no node answers.
	DefaultTimeout = 30 * time.Second
	// MaxCall is the size in bytes of the largest request.
	MaxCall = api.MaxMessage - 64<<10
	// maxPending bounds what waits for answers, in bytes; a call beyond it
	// waits for its turn.
	maxPending = 64 << 20
	// callOverhead is added to the size of each request in that count, so that
	// it bounds the number of calls as well: to 8,192, half of what a node
	// takes from one stream, which leaves room for calls that were given up
	// here and are still pending there.
	callOverhead = 8 << 10
	// maxBatchCalls and maxBatchBytes bound one message of several calls. A
	// larger call travels alone.
	maxBatchCalls = 512
	maxBatchBytes = 1 << 20

	// connectTimeout is how long a node may take to accept a connection.
	connectTimeout = 3 * time.Second
	// stallTimeout is how long a node may owe the answer to a short call and
	// say nothing at all before another is tried.
	stallTimeout = 5 * time.Second
	// keepaliveTime and keepaliveTimeout: how long a connection may be silent
	// before the node is asked whether it is there, and how long that may take.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// refusedTimeout is how long a node may answer "no leader" only, before
	// another is tried.
	refusedTimeout = time.Second
	// checkEvery is the grain of the timeouts above.
	checkEvery = 100 * time.Millisecond
	// minBackoff and maxBackoff bound the pause between two tries.
	minBackoff = 25 * time.Millisecond
	maxBackoff = time.Second
	// askEvery is how often a client asks who the members are: all those it knows
	// may be replaced while it is connected to one of them. askTimeout is how long the
	// node may take for that, which costs it nothing, before another is tried.
	askEvery   = time.Second
	askTimeout = 3 * time.Second
	// maxNodes bounds the addresses a client keeps.
	maxNodes = 64
)

var (
	errStalled = errors.New("the node does not answer")
	errRefused = errors.New("the node finds no leader")
	errMove    = errors.New("another node leads")
)

// call is one request until it is answered.
type call struct {
	msg    *api.Call
	size   int // of msg, in bytes
	weight int64
	long   bool // its answer may take as long as a task runs
	inside bool // made by the client itself
	done   func(*api.Reply, error)
	begun  time.Time

	// Guarded by conn.mu.
	queued  bool      // waits to be sent
	sent    time.Time // on the current stream; zero before
	refused time.Time // since when nodes answer that they cannot do it
	tries   int
}

// conn keeps one stream to one of the nodes and repeats what a broken stream
// left unanswered. Its goroutines are: run, which opens streams one after the
// other; a writer and a reader for the stream there is; and check, which keeps
// the timeouts of all calls.
type conn struct {
	timeout time.Duration
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	stopped sync.WaitGroup
	room    *semaphore.Weighted
	wake    chan struct{} // something is queued

	mu      sync.Mutex
	closed  bool
	seq     uint64
	pending map[uint64]*call
	queue   []*call
	up      *session      // nil while there is no stream
	changed chan struct{} // closed and replaced when up changes
	down    time.Time     // since when nothing was answered; zero when all is well
	lastErr error
	given   []string // addresses the caller gave
	addrs   []string // given, and those of the members as last heard
	next    int      // index in addrs of the next to try
	asking  *call    // the newest question for them
	prefer  string   // to try before that
	moved   uint64   // term in which the client last moved to the leader
	cluster string   // that the first node answered for; the client keeps to it
}

// session is one stream.
type session struct {
	addr   string
	client *grpc.ClientConn
	stream grpc.BidiStreamingClient[api.Calls, api.Replies]
	ctx    context.Context
	fail   context.CancelCauseFunc

	// Guarded by conn.mu.
	heard time.Time // anything was received, but for answers to the client's own questions
	good  time.Time // a caller's call was answered
}

func newConn(timeout time.Duration, addrs []string) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	c := &conn{
		timeout: timeout, ctx: ctx, cancel: cancel, room: semaphore.NewWeighted(maxPending),
		wake: make(chan struct{}, 1), pending: map[uint64]*call{}, changed: make(chan struct{}),
		down: time.Now(), given: slices.Clone(addrs), addrs: slices.Clone(addrs),
	}
	c.stopped.Go(c.run)
	c.stopped.Go(c.check)
	return c
}

// close ends all calls with ErrClosed and waits for the goroutines.
func (c *conn) close() {
	c.mu.Lock()
	c.closed = true
	left := c.takeAll(func(*call) bool { return true })
	c.mu.Unlock()
	c.cancel()
	for _, cl := range left {
		cl.done(nil, ErrClosed)
	}
	c.stopped.Wait()
}

// do makes a call and waits for its answer. A reply that carries an error is
// returned as that error.
func (c *conn) do(ctx context.Context, msg *api.Call, long bool) (*api.Reply, error) {
	type answer struct {
		reply *api.Reply
		err   error
	}
	got := make(chan answer, 1)
	cl, err := c.start(ctx, msg, long, func(r *api.Reply, err error) { got <- answer{r, err} })
	if err != nil {
		return nil, err
	}
	select {
	case a := <-got:
		return a.reply, a.err
	case <-ctx.Done():
		if c.abandon(cl) {
			return nil, contextError(ctx)
		}
		a := <-got
		return a.reply, a.err
	}
}

// doAll makes many short calls at once and waits for all answers; each is called
// for those that are no errors, by any goroutine. The error is that of the first
// call that has one, and its number.
func (c *conn) doAll(ctx context.Context, calls []*api.Call, each func(i int, r *api.Reply)) error {
	var mu sync.Mutex
	var left sync.WaitGroup
	failed := make([]error, len(calls))
	started := make([]*call, 0, len(calls))
	for i, msg := range calls {
		left.Add(1)
		cl, err := c.start(ctx, msg, false, func(r *api.Reply, err error) {
			defer left.Done()
			mu.Lock()
			defer mu.Unlock()
			if failed[i] = err; err == nil {
				each(i, r)
			}
		})
		if err != nil {
			failed[i] = err
			left.Done()
			break
		}
		started = append(started, cl)
	}
	ended := make(chan struct{})
	go func() { left.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		for i, cl := range started {
			if c.abandon(cl) {
				failed[i] = contextError(ctx)
				left.Done()
			}
		}
		<-ended
	}
	for i, err := range failed {
		if err != nil {
			return fmt.Errorf("%d of %d: %w", i, len(calls), err)
		}
	}
	return nil
}

// start queues a call. done is called once with its end, on a goroutine of the
// connection, and must not block. It waits only for room among what is pending.
func (c *conn) start(ctx context.Context, msg *api.Call, long bool, done func(*api.Reply, error)) (*call, error) {
	size := proto.Size(msg)
	if size > MaxCall {
		return nil, fmt.Errorf("%w: the request has %d bytes, the limit is %d", ErrLimit, size, MaxCall)
	}
	cl := &call{msg: msg, size: size, weight: int64(size + callOverhead), long: long, done: done, begun: time.Now()}
	if !c.room.TryAcquire(cl.weight) {
		if err := c.room.Acquire(ctx, cl.weight); err != nil {
			return nil, contextError(ctx)
		}
	}
	if ctx.Err() != nil {
		c.room.Release(cl.weight)
		return nil, contextError(ctx)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		c.room.Release(cl.weight)
		return nil, ErrClosed
	}
	c.add(cl)
	c.mu.Unlock()
	return cl, nil
}

// add queues a new call. The caller holds mu.
func (c *conn) add(cl *call) {
	c.seq++
	cl.msg.Seq = c.seq
	c.pending[c.seq] = cl
	c.enqueue(cl)
}

// enqueue queues a call that is pending. The caller holds mu.
func (c *conn) enqueue(cl *call) {
	cl.queued = true
	c.queue = append(c.queue, cl)
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take removes a call that is still pending, so that exactly one goroutine
// ends it. The caller holds mu.
func (c *conn) take(cl *call) bool {
	if c.pending[cl.msg.Seq] != cl {
		return false
	}
	delete(c.pending, cl.msg.Seq)
	c.room.Release(cl.weight)
	return true
}

// takeAll takes the calls for which fn says so. The caller holds mu.
func (c *conn) takeAll(fn func(*call) bool) []*call {
	var out []*call
	for _, cl := range c.pending {
		if fn(cl) && c.take(cl) {
			out = append(out, cl)
		}
	}
	return out
}

// abandon drops a call nobody waits for any more; false when it has ended.
func (c *conn) abandon(cl *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.take(cl) {
		return false
	}
	// While no node can be reached nobody empties the queue: keep it in
	// proportion to what is pending.
	if len(c.queue) > 2*len(c.pending)+maxBatchCalls {
		c.queue = slices.DeleteFunc(c.queue, func(q *call) bool { return c.pending[q.msg.Seq] != q })
	}
	return true
}

// ---- streams ----

// run keeps a stream open until the client is closed.
func (c *conn) run() {
	failures := 0 // since a stream last worked for a while
	for c.ctx.Err() == nil {
		addr, round := c.pick()
		begun := time.Now()
		err := c.session(addr)
		if time.Since(begun) > maxBackoff {
			failures = 0
		}
		c.mu.Lock()
		if !errors.Is(err, errMove) {
			c.lastErr = fmt.Errorf("%s: %w", addr, err)
		}
		if c.down.IsZero() {
			c.down = time.Now()
		}
		c.mu.Unlock()
		// Each address is tried once without a pause.
		if failures++; failures >= round && !errors.Is(err, errMove) {
			c.pause(c.ctx, backoffFor(failures-round))
		}
	}
}

// pick says which node to try next, and how many there are.
func (c *conn) pick() (addr string, round int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if addr = c.prefer; addr != "" {
		c.prefer = ""
		return addr, len(c.addrs)
	}
	addr = c.addrs[c.next%len(c.addrs)]
	c.next = (c.next + 1) % len(c.addrs)
	return addr, len(c.addrs)
}

// backoffFor is the pause after the n-th failure in a row, with jitter so that
// clients that failed together do not come back together.
func backoffFor(n int) time.Duration {
	d := min(minBackoff<<min(max(n, 0), 10), maxBackoff)
	return d/2 + rand.N(d/2+1)
}

func (c *conn) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
}

var dialOptions = []grpc.DialOption{
	grpc.WithTransportCredentials(insecure.NewCredentials()),
	grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessage), grpc.MaxCallSendMsgSize(api.MaxMessage)),
	grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
	grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
	grpc.WithIdleTimeout(0),
	grpc.WithInitialWindowSize(4 << 20),
	grpc.WithInitialConnWindowSize(8 << 20),
}

// session opens a stream to addr and uses it until it breaks; the error says why.
func (c *conn) session(addr string) error {
	client, err := grpc.NewClient("passthrough:///"+addr, dialOptions...)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, fail := context.WithCancelCause(c.ctx)
	defer fail(nil)
	stream, err := api.NewFarmClient(client).Do(c.meaning(ctx))
	if err != nil {
		return err
	}
	now := time.Now()
	s := &session{addr: addr, client: client, stream: stream, ctx: ctx, fail: fail, heard: now, good: now}
	c.begin(s)
	var writer sync.WaitGroup
	writer.Go(func() { c.write(s) })
	err = c.read(s)
	// What check or learn said is a better reason than the cancelled stream it led to.
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	fail(err)
	writer.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setUp(nil)
	return err
}

// meaning adds to the context of a call which cluster it is for, once that is known:
// another farm may have the port of a node by now, and must not be taken for this one.
func (c *conn) meaning(ctx context.Context) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cluster == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, api.ClusterKey, c.cluster)
}

// setUp makes s the current session. The caller holds mu.
func (c *conn) setUp(s *session) {
	c.up = s
	close(c.changed)
	c.changed = make(chan struct{})
}

// begin makes s the current session and queues everything unanswered for it,
// in the order of the calls.
func (c *conn) begin(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = c.queue[:0]
	for _, cl := range c.pending {
		if !cl.inside {
			cl.sent = time.Time{}
			c.queue = append(c.queue, cl)
			cl.queued = true
		}
	}
	slices.SortFunc(c.queue, func(a, b *call) int { return cmp.Compare(a.msg.Seq, b.msg.Seq) })
	c.takeAll(func(cl *call) bool { return cl.inside })
	c.setUp(s)
	c.ask(s, true)
}

// write sends what is queued, as much at once as there is and fits.
func (c *conn) write(s *session) {
	for {
		batch := c.batch()
		if len(batch) == 0 {
			select {
			case <-c.wake:
				continue
			case <-s.ctx.Done():
				return
			}
		}
		if s.ctx.Err() != nil || s.stream.Send(&api.Calls{Calls: batch}) != nil {
			return // the reader learns why
		}
	}
}

// batch takes calls from the queue for one message.
func (c *conn) batch() []*api.Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil
	}
	now := time.Now()
	out := make([]*api.Call, 0, min(len(c.queue), maxBatchCalls))
	bytes, n := 0, 0
	for _, cl := range c.queue {
		if len(out) == maxBatchCalls || len(out) > 0 && bytes+cl.size > maxBatchBytes {
			break
		}
		n++
		cl.queued = false
		if c.pending[cl.msg.Seq] != cl {
			continue // abandoned
		}
		cl.sent = now
		bytes += cl.size
		out = append(out, cl.msg)
	}
	c.queue = slices.Delete(c.queue, 0, n)
	return out
}

// read hands out replies until the stream breaks.
func (c *conn) read(s *session) error {
	type end struct {
		cl    *call
		reply *api.Reply
	}
	var ends []end
	for {
		replies, err := s.stream.Recv()
		if err != nil {
			return err
		}
		ends = ends[:0]
		c.mu.Lock()
		now := time.Now()
		c.down = time.Time{}
		for _, r := range replies.Replies {
			cl := c.pending[r.Seq]
			if cl == nil || !cl.inside {
				s.heard = now
			}
			if cl == nil {
				continue // abandoned
			}
			if code := r.GetError().GetCode(); code == api.Code_UNAVAILABLE || code == api.Code_NOT_LEADER {
				c.again(s, cl, r.Error, now)
				continue
			}
			if !cl.inside {
				s.good = now
			}
			c.take(cl)
			ends = append(ends, end{cl, r})
		}
		c.mu.Unlock()
		for _, e := range ends {
			if e.reply.Error != nil {
				e.cl.done(nil, replyError(e.reply.Error))
			} else {
				e.cl.done(e.reply, nil)
			}
		}
		clear(ends)
	}
}

// again repeats a call later that the node could not carry out now. When the
// node does nothing else for a while, another is tried. The caller holds mu.
func (c *conn) again(s *session, cl *call, why *api.Error, now time.Time) {
	if cl.inside {
		c.take(cl)
		return
	}
	c.lastErr = fmt.Errorf("%s: %s", s.addr, why.Message)
	if cl.refused.IsZero() {
		cl.refused = now
	}
	cl.sent = time.Time{}
	cl.tries++
	time.AfterFunc(backoffFor(cl.tries-1), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !cl.queued && cl.sent.IsZero() && c.pending[cl.msg.Seq] == cl {
			c.enqueue(cl)
		}
	})
	if now.Sub(s.good) > refusedTimeout {
		s.fail(errRefused)
	}
}

// ---- learning, timeouts ----

// ask asks for the nodes of the cluster; with move, the client goes to the leader.
// The caller holds mu.
func (c *conn) ask(s *session, move bool) {
	if c.closed {
		return
	}
	cl := &call{inside: true, begun: time.Now(), msg: &api.Call{Stale: true, Op: &api.Call_Status{Status: &api.GetStatus{}}}}
	cl.done = func(r *api.Reply, err error) {
		if err == nil && r.GetStatus() != nil {
			c.learn(s, r.GetStatus(), move)
		}
	}
	c.asking = cl
	c.add(cl)
}

// askAgain asks when the last answer is old, and never twice at a time. The caller
// holds mu.
func (c *conn) askAgain(now time.Time) {
	last := c.asking
	if c.up != nil && last != nil && now.Sub(last.begun) > askEvery && c.pending[last.msg.Seq] != last {
		c.ask(c.up, false)
	}
}

// learn keeps the addresses of nodes, and moves to the leader if it may, at most
// once a term: calls made there need not be passed on.
func (c *conn) learn(s *session, st *api.Status, move bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cluster == "" {
		c.cluster = st.Cluster
	}
	addrs := slices.Clone(c.given) // those of nodes that left go
	if st.Leader == "" {
		addrs = c.addrs // from a node that may be none any more itself
	}
	for _, n := range st.Nodes {
		if n.Api == "" {
			continue
		}
		if !slices.Contains(addrs, n.Api) && len(addrs) < maxNodes {
			addrs = append(addrs, n.Api)
		}
		if move && n.Id == st.Leader && n.Api != s.addr && st.Term > c.moved && c.up == s {
			c.moved, c.prefer = st.Term, n.Api
			s.fail(errMove)
		}
	}
	c.addrs = addrs
}

// check ends calls whose time is over and streams that went silent.
func (c *conn) check() {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		now := time.Now()
		c.checkSession(now)
		c.askAgain(now)
		late := c.takeAll(func(cl *call) bool { return !cl.inside && c.late(cl, now) })
		c.mu.Unlock()
		for _, cl := range late {
			cl.done(nil, c.withLast(fmt.Errorf("%w: no answer for %v", ErrUnavailable, c.timeout)))
		}
	}
}

// late tells whether a call has been tried for long enough. A short one has
// the timeout from its beginning; a long one may take as long as it needs while
// there is a node to wait for. The caller holds mu.
func (c *conn) late(cl *call, now time.Time) bool {
	since := cl.begun
	if cl.long {
		if !cl.sent.IsZero() && now.Sub(cl.sent) > c.timeout/3*2 {
			cl.refused = time.Time{} // accepted after all
		}
		switch {
		case !cl.refused.IsZero():
			since = cl.refused
		case c.down.IsZero():
			return false
		case c.down.After(cl.begun):
			since = c.down
		}
	}
	return now.Sub(since) > c.timeout
}

// checkSession gives up a stream on which nothing comes although a short call waits,
// or not even the answer to the client's own question. The caller holds mu.
func (c *conn) checkSession(now time.Time) {
	s := c.up
	if s == nil {
		return
	}
	owed := func(cl *call, limit time.Duration) bool { return !cl.sent.IsZero() && now.Sub(cl.sent) > limit }
	if a := c.asking; a != nil && c.pending[a.msg.Seq] == a && owed(a, askTimeout) {
		s.fail(errStalled)
		return
	}
	if now.Sub(s.heard) <= stallTimeout {
		return
	}
	for _, cl := range c.pending {
		if !cl.long && owed(cl, stallTimeout) {
			s.fail(errStalled)
			return
		}
	}
}

// current waits for a session and returns it: ErrUnavailable when there is none
// for the client's timeout.
func (c *conn) current(ctx context.Context) (*session, error) {
	timeout := time.NewTimer(c.timeout)
	defer timeout.Stop()
	for {
		c.mu.Lock()
		s, changed, closed := c.up, c.changed, c.closed
		c.mu.Unlock()
		if closed {
			return nil, ErrClosed
		}
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
		case <-ctx.Done():
			return nil, c.withLast(contextError(ctx))
		case <-timeout.C:
			return nil, c.withLast(fmt.Errorf("%w: no node for %v", ErrUnavailable, c.timeout))
		}
	}
}

// withLast adds why the last stream or call failed, as the likely reason.
func (c *conn) withLast(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastErr == nil {
		return err
	}
	return fmt.Errorf("%w (%w)", err, c.lastErr)
}
