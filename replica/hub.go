package replica

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"farm/api"
	"farm/scheduler"
)

// hub passes on what running tasks print. It is beside the log: output that a
// watcher misses is still kept with the task when it ends.
type hub struct {
	isLive func(task string) bool // whether it is not final; it takes the state's lock

	mu       sync.Mutex
	live     map[string]*liveTask
	watchers int
}

// liveTask is a task that is watched or has printed something.
type liveTask struct {
	attempt  uint32
	outputs  []*api.Output // up to MaxLiveOutput bytes of the attempt
	size     int
	progress *api.Progress
	watchers map[*watcher]bool
	over     bool
}

// watcher is one Watch. Events that do not fit are dropped: the kept output of
// the finished task is complete within its limit.
type watcher struct{ events chan *api.Event }

const watcherBuffer = 256

// maxProgressText is how many bytes of a progress's message are passed on.
const maxProgressText = 256

func newHub(isLive func(task string) bool) *hub {
	return &hub{isLive: isLive, live: map[string]*liveTask{}}
}

func (h *hub) task(id string) *liveTask {
	t := h.live[id]
	if t == nil {
		t = &liveTask{watchers: map[*watcher]bool{}}
		h.live[id] = t
	}
	return t
}

func (h *hub) output(o *api.Output) {
	if h.printed(o) {
		h.notOver(o.Task)
	}
}

// printed passes output on, and tells whether it is the first that is kept of the task.
func (h *hub) printed(o *api.Output) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.task(o.Task)
	first = len(t.outputs) == 0
	if o.Attempt > t.attempt {
		t.attempt, t.outputs, t.size = o.Attempt, nil, 0
	}
	if t.size+len(o.Data) <= MaxLiveOutput {
		t.outputs = append(t.outputs, o)
		t.size += len(o.Data)
	}
	t.tell(&api.Event{Event: &api.Event_Output{Output: o}})
	return first
}

// notOver makes sure that something is kept only of a task that is not final: what a
// worker says of one may come after its end, when ended has been called or will never
// be. It is called when there is something new to keep, without the lock: the apply path
// holds the state's while it calls ended, which takes the hub's.
func (h *hub) notOver(task string) {
	if h.isLive(task) {
		return // its end will be told
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.live[task]; x != nil {
		h.over(task, x)
	}
}

// over notes that a task is final: nothing is kept of it but for who watches it.
func (h *hub) over(task string, x *liveTask) {
	x.over = true
	if len(x.watchers) == 0 {
		delete(h.live, task)
	}
}

func (h *hub) progress(p *api.Progress) {
	if h.progressed(p) {
		h.notOver(p.Task)
	}
}

// progressed passes progress on, and tells whether it is the first of the task.
func (h *hub) progressed(p *api.Progress) (first bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.task(p.Task)
	first = t.progress == nil
	if len(p.Message) > maxProgressText {
		p.Message = strings.ToValidUTF8(p.Message[:maxProgressText], "")
	}
	t.progress = p
	t.tell(&api.Event{Event: &api.Event_Progress{Progress: p}})
	return first
}

// lastProgress is what a running task last said, nil when nothing is known.
func (h *hub) lastProgress(id string) *api.Progress {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.live[id]; t != nil {
		return t.progress
	}
	return nil
}

func (t *liveTask) tell(e *api.Event) {
	for w := range t.watchers {
		select {
		case w.events <- e:
		default:
		}
	}
}

// ended forgets a task. It is on the apply path.
func (h *hub) ended(t *scheduler.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if x := h.live[t.ID]; x != nil {
		h.over(t.ID, x)
	}
}

// watch registers a watcher, which finds in its channel what was printed so
// far.
func (h *hub) watch(id string) (*watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers >= MaxWatchers {
		return nil, status.Errorf(codes.ResourceExhausted, "%d watches are open on this node, which is the limit", MaxWatchers)
	}
	h.watchers++
	t := h.task(id)
	w := &watcher{events: make(chan *api.Event, watcherBuffer+len(t.outputs)+1)}
	for _, o := range t.outputs {
		w.events <- &api.Event{Event: &api.Event_Output{Output: o}}
	}
	if t.progress != nil {
		w.events <- &api.Event{Event: &api.Event_Progress{Progress: t.progress}}
	}
	t.watchers[w] = true
	return w, nil
}

func (h *hub) leave(id string, w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watchers--
	if t := h.live[id]; t != nil {
		delete(t.watchers, w)
		if len(t.watchers) == 0 && (t.over || len(t.outputs) == 0 && t.progress == nil) {
			delete(h.live, id)
		}
	}
}

// passedOn marks, in the metadata of a Watch, one that a node passes on.
const passedOn = "farm-passed-on"

// Watch implements api.FarmServer.
func (n *Node) Watch(q *api.WatchRequest, g api.Farm_WatchServer) error {
	if !n.leads() {
		return n.watchLeader(q, g)
	}
	w, err := n.hub.watch(q.Id)
	if err != nil {
		return err
	}
	defer n.hub.leave(q.Id, w)
	final := make(chan *api.Task, 1)
	s := newStream()
	defer n.waiters.hangUp(s)
	wait := &call{Call: &api.Call{Op: &api.Call_Wait{Wait: &api.Wait{Id: q.Id}}}, stream: s}
	failed := make(chan *api.Error, 1)
	wait.reply = func(r *api.Reply) {
		if r.Error != nil {
			failed <- r.Error
			return
		}
		final <- r.GetTask()
	}
	n.handle([]*call{wait})
	for {
		select {
		case e := <-w.events:
			if err := g.Send(e); err != nil {
				return err
			}
		case t := <-final:
			return n.lastEvents(w, t, g)
		case e := <-failed:
			if e.Code == api.Code_NOT_FOUND {
				return status.Error(codes.NotFound, e.Message)
			}
			return status.Error(codes.Unavailable, e.Message)
		case <-g.Context().Done():
			return g.Context().Err()
		case <-n.ctx.Done():
			return status.Error(codes.Unavailable, "the node is stopping")
		}
	}
}

// lastEvents sends what is in line and then the finished task.
func (n *Node) lastEvents(w *watcher, t *api.Task, g api.Farm_WatchServer) error {
	for {
		select {
		case e := <-w.events:
			if err := g.Send(e); err != nil {
				return err
			}
			continue
		default:
		}
		return g.Send(&api.Event{Event: &api.Event_Task{Task: t}})
	}
}

// watchLeader passes a watch on to the leader.
func (n *Node) watchLeader(q *api.WatchRequest, g api.Farm_WatchServer) error {
	md, _ := metadata.FromIncomingContext(g.Context())
	addr := n.leaderAPI()
	if addr == "" || addr == n.apiAddr || len(md.Get(passedOn)) > 0 {
		return status.Error(codes.Unavailable, "there is no leader")
	}
	conn, err := n.peers.conn(addr)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(g.Context(), passedOn, n.id))
	defer cancel()
	from, err := api.NewFarmClient(conn).Watch(ctx, q)
	if err != nil {
		return err
	}
	for {
		e, err := from.Recv()
		if err != nil {
			return err
		}
		if err := g.Send(e); err != nil || e.GetTask() != nil {
			return err
		}
	}
}
