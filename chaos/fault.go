package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"farm/api"
	"farm/internal/crash"
	"farm/tasks"
)

// fault is something that is done to a cluster. inject does it, makes sure that it
// happened, undoes it, and returns the evidence; an error means that it could not
// be done or was not seen. The cluster is whole when it is called, and is awaited
// to be whole after.
type fault struct {
	about  string
	inject func(ctx context.Context, x *run, r *rand.Rand) (evidence string, err error)
}

// faults are all there are, by name.
var faults = map[string]fault{
	"kill-context":        {"kill -9 of a child process that runs tasks", killContext},
	"kill-node":           {"kill -9 of a node that does not lead", killNode},
	"kill-leader":         {"kill -9 of the leader", killLeader},
	"kill-majority":       {"kill -9 of most nodes at once", killMajority},
	"kill-all":            {"kill -9 of all nodes at once", killAll},
	"kill-handler-worker": {"kill -9 of a worker of the user's own that runs handlers", killHandlerWorker},
	"kill-busy":           {"kill -9 of a node that runs one task of a namespace and holds more", killBusy},
	"pause-leader":        {"SIGSTOP of the leader for longer than an election, then SIGCONT", pauseLeader},
	"pause-worker":        {"SIGSTOP of a node for longer than every lease, its tasks go on, then SIGCONT", pauseWorker},
	"partition-leader":    {"the leader and all others are cut off from each other", partitionLeader},
	"partition-node":      {"another node and all others are cut off from each other", partitionNode},
	"deaf-leader":         {"nothing reaches the leader, it is heard", deafLeader},
	"mute-leader":         {"nothing the leader says arrives, it hears", muteLeader},
	"partition-client":    {"clients do not reach one node, nodes do", partitionClient},
	"slow-links":          {"everything takes its time, and little goes through", slowLinks},
	"lossy-links":         {"much is sent again, connections break", lossyLinks},
	"disk-full":           {"no space is left for a node's data", diskFull},
	"log-error":           {"a write to the log fails", logError},
	"state-error":         {"a write of the state fails", stateError},
	"disk-stall":          {"the leader's log does not answer", diskStall},
	"flip-log":            {"a bit of a log at rest is another", flipLog},
	"flip-state":          {"a bit of a state at rest is another", flipState},
	"cut-log":             {"the end of a log at rest is gone", cutLog},
	"cut-state":           {"the end of a state at rest is gone", cutState},
	"old-state":           {"the state at rest is an older copy of it", oldState},
	"clock-jumps":         {"the leader's clock jumps forward, and then back", clockJumps},
	"rolling-restart":     {"every node is stopped and started, one after the other", rollingRestart},
	"stop-leader":         {"the leader is asked to stop", stopLeader},
	"hand-over":           {"leadership is handed from node to node", handOver},
	"add-node":            {"an empty node joins", addNode},
	"add-and-kill":        {"an empty node joins and its disk hangs, another dies", addAndKill},
	"remove-node":         {"a node is removed, the leader too", removeNode},
	"replace-node":        {"a node's disk is lost, an empty node takes its place", replaceNode},
	"install-snapshot":    {"a node misses more than the log keeps, and dies at every step of getting the state", installSnapshot},
	"crash-log":           {"a node dies before, or after, a write to the log", crashAt("log.before-write", "log.after-write")},
	"crash-state":         {"a node dies before, or after, a commit of the state", crashAt("state.before-commit", "state.after-commit")},
	"crash-vote":          {"a node dies before it writes down a vote", crashAt("vote.before-write")},
	"crash-complete":      {"the leader dies with the report of a task in hand", crashAt("complete.before-propose")},
	"crash-parts":         {"a node dies between the parts of a large value and what refers to them", crashParts},
	"crash-snapshot":      {"a node dies when it is about to cut its log", crashAt("snapshot.write")},
	"leave-oldest-format": {"nodes join a farm of one, that went on with data of the oldest format", leaveOldest},
}

// ---- processes ----

// kill kills nodes at once, and makes sure that they are gone.
func (x *run) kill(nodes ...*node) error {
	for _, n := range nodes {
		if err := n.proc.signal(syscall.SIGKILL); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := n.proc.end(syscall.SIGKILL, stopLimit); err != nil {
			return err
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", n.proc.pid())); err == nil {
			return fmt.Errorf("process %d of %s is still there", n.proc.pid(), n.id)
		}
	}
	return nil
}

// killAndRestart kills nodes, waits until others go on if they can, and starts
// them again after a while.
func (x *run) killAndRestart(ctx context.Context, r *rand.Rand, nodes ...*node) (string, error) {
	acked := x.h.next()
	before := ids(nodes)
	if err := x.kill(nodes...); err != nil {
		return "", err
	}
	if 2*len(nodes) < len(x.c.members()) {
		if err := x.acknowledged(ctx, acked); err != nil {
			return "", err
		}
	}
	if err := rest(ctx, time.Duration(r.IntN(1000))*time.Millisecond); err != nil {
		return "", err
	}
	for _, n := range nodes {
		if err := x.c.spawn(n); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("processes %s → %s", before, ids(nodes)), nil
}

// acknowledged waits until a call made after a fault began has been acknowledged,
// and notes how long it took.
func (x *run) acknowledged(ctx context.Context, acked <-chan time.Duration) error {
	select {
	case d := <-acked:
		if x.outage(d); d > servedLimit {
			x.violate(promiseLive, "nothing that was called anew was acknowledged for %v, the limit is %v", d.Round(time.Millisecond), servedLimit)
		}
		return nil
	case <-time.After(healthLimit):
		x.violate(promiseLive, "nothing was acknowledged for %v though a majority of the nodes was there", healthLimit)
		return errors.New("nothing was acknowledged")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func ids(nodes []*node) string {
	var s []string
	for _, n := range nodes {
		s = append(s, fmt.Sprintf("%s:%d", n.id, n.proc.pid()))
	}
	return strings.Join(s, ",")
}

func killContext(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	var victim int
	err := x.soon(ctx, "a child process", func() bool {
		live := x.c.live()
		n := live[r.IntN(len(live))]
		if all := children(n.proc.pid()); len(all) > 0 {
			victim = all[r.IntN(len(all))]
		}
		return victim != 0
	})
	if err != nil {
		return "", err
	}
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return "", err
	}
	return fmt.Sprintf("process %d is gone", victim), x.soon(ctx, "the end of the child", func() bool {
		s, err := readStat(victim)
		return err != nil || s.state == 'Z'
	})
}

func killNode(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.c.follower(ctx, r.IntN)
	if err != nil {
		return "", err
	}
	return x.killAndRestart(ctx, r, n)
}

func killLeader(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	return x.killAndRestart(ctx, r, n)
}

func killMajority(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.members()
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return x.killAndRestart(ctx, r, all[:len(all)/2+1]...)
}

func killAll(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.killAndRestart(ctx, r, x.c.members()...)
}

// killBusy makes a namespace with one long task and short ones behind it, kills the
// node that has them, and checks who is blamed: the one that ran, and no other.
func killBusy(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	cl := x.load.clients[0]
	name := fmt.Sprintf("blame-%d", x.number.Add(1))
	// Short ones first: what follows in a namespace is given to its holder ahead of
	// time only where tasks have been short.
	for range 150 {
		if _, err := cl.Submit(ctx, x.load.cell(tasks.Task{Namespace: name + "-warm", Source: "1"})); err != nil {
			return "", err
		}
	}
	if _, err := cl.Run(ctx, x.load.cell(tasks.Task{Namespace: name + "-warm", Source: "1"})); err != nil {
		return "", err
	}
	head, err := cl.Submit(ctx, x.load.cell(tasks.Task{Namespace: name, Source: "import \"time\"\ntime.Sleep(2 * time.Second)\nk := 1\nk"}))
	if err != nil {
		return "", err
	}
	var waiting []*tasks.Submitted
	for range 8 {
		h, err := cl.Submit(ctx, x.load.cell(tasks.Task{Namespace: name, Source: "k"}))
		if err != nil {
			return "", err
		}
		waiting = append(waiting, h)
	}
	victim, err := x.holder(ctx, head)
	if err != nil {
		return "", err
	}
	evidence, err := x.killAndRestart(ctx, r, victim)
	if err != nil {
		return "", err
	}
	i, err := head.Wait(ctx)
	if err != nil {
		return "", err
	}
	if len(i.Causes) != 1 || i.Attempt < 2 {
		x.violate(promiseBlame, "the task that ran on %s has attempt %d and the causes %q", victim.id, i.Attempt, i.Causes)
	}
	ahead := 0
	for _, h := range waiting {
		i, err := h.Wait(ctx)
		if err != nil {
			return "", err
		}
		if len(i.Causes) > 0 {
			x.violate(promiseBlame, "a task that waited for its turn on %s is blamed: %q", victim.id, i.Causes)
		}
		if i.Attempt > 1 {
			ahead++
		}
	}
	return fmt.Sprintf("%s; it held %d tasks that it had not begun", evidence, ahead), nil
}

// holder waits until a task runs, and returns the node of its worker, which does not
// lead: with the leader, what it has heard of who had begun is gone too.
func (x *run) holder(ctx context.Context, h *tasks.Submitted) (n *node, err error) {
	err = x.soon(ctx, "the task runs", func() bool {
		i, err := h.Get(ctx)
		if err != nil || i.State != tasks.Running {
			return false
		}
		for _, m := range x.c.members() {
			if m.id == i.Worker {
				n = m
			}
		}
		return n != nil
	})
	if err != nil {
		return nil, err
	}
	for range 20 {
		if x.c.leader(ctx) != n {
			break
		}
		if err := x.handOver(ctx); err != nil {
			return nil, err
		}
	}
	// The worker says on the stream to the (new) leader that it has begun.
	return n, rest(ctx, 700*time.Millisecond)
}

// pause stops a node as it is and lets it go on after a while.
func (x *run) pause(ctx context.Context, n *node, d time.Duration, meanwhile func() error) (string, error) {
	if err := n.proc.signal(syscall.SIGSTOP); err != nil {
		return "", err
	}
	defer func() { _ = n.proc.signal(syscall.SIGCONT) }() // when anything below fails
	err := x.soon(ctx, "the node stands still", func() bool {
		s, err := readStat(n.proc.pid())
		return err == nil && s.state == 'T'
	})
	if err == nil {
		err = errors.Join(meanwhile(), rest(ctx, d))
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s stood still for %v", n.id, d), n.proc.signal(syscall.SIGCONT)
}

func pauseLeader(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	acked := x.h.next()
	evidence, err := x.pause(ctx, n, time.Duration(r.IntN(1200))*time.Millisecond, func() error { return x.acknowledged(ctx, acked) })
	if err != nil {
		return "", err
	}
	if now := x.c.leader(ctx); now == n {
		return "", fmt.Errorf("%s leads still, or again", n.id)
	}
	return evidence + ", another leads", nil
}

// zombieTime is longer than an election, the grace and the lease of workers together.
const (
	zombieTime = 6 * time.Second
	zombieTask = 4 * time.Second // so that it runs elsewhere when the zombie comes back
)

// pauseWorker also makes sure that the node has work in hand: its tasks end while it
// stands still and others have been given them, so what it says of them is too late.
// Each task says which attempt of it ran: it must be the one whose result counts. And
// each submits one that counts itself, for checkOnce.
func pauseWorker(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.c.follower(ctx, r.IntN)
	if err != nil {
		return "", err
	}
	cl := x.load.clients[0]
	count := &counted{space: "once-" + tasks.NewID()}
	if err := x.load.fill(ctx, cl, count.space, map[string]any{"n": 0}); err != nil {
		return "", err
	}
	x.once = append(x.once, count)
	var held []*tasks.Submitted
	for range nodeSlots * len(x.c.members()) {
		h, err := cl.Submit(ctx, x.load.cell(tasks.Task{Source: fmt.Sprintf("import (\n\t\"farm\"\n\t\"time\"\n)\ntime.Sleep(%d)\nfarm.Submit(farm.Task{Namespace: %q, Source: \"n++\", Retries: %d})\nfarm.Attempt()",
			zombieTask, count.space, payRetries)}))
		if err != nil {
			return "", err
		}
		held = append(held, h)
		count.tasks = append(count.tasks, h.ID)
	}
	err = x.soon(ctx, "the node runs one of the tasks", func() bool {
		for _, h := range held {
			if i, err := h.Get(ctx); err == nil && i.State == tasks.Running && i.Worker == n.id {
				return true
			}
		}
		return false
	})
	if err == nil {
		err = rest(ctx, longTask) // it has begun by now, and is not at its end
	}
	if err != nil {
		return "", err
	}
	before := x.refused(ctx)
	evidence, err := x.pause(ctx, n, zombieTime, func() error { return nil })
	if err != nil {
		return "", err
	}
	late := x.soon(ctx, "what comes too late is refused", func() bool { return x.refused(ctx) > before })
	again := 0
	for _, h := range held {
		i, err := h.Wait(ctx)
		if err != nil {
			return "", fmt.Errorf("task %s: %w", h.ID, err)
		}
		if string(i.Value) != fmt.Sprint(i.Attempt) {
			x.violate(promiseOnce, "attempt %d of task %s is the current one, and the result is that of attempt %s", i.Attempt, h.ID, i.Value)
		}
		if i.Attempt > 1 {
			again++
		}
	}
	if late != nil && ctx.Err() == nil {
		x.violate(promiseOnce, "nothing that %s came with was refused after it stood still for %v with work in hand", n.id, zombieTime)
	}
	if again == 0 {
		return "", fmt.Errorf("no task of %s was given to another", n.id)
	}
	return fmt.Sprintf("%s, %d of its tasks ran again, late reports and attempts of it were refused: %d", evidence, again, x.refused(ctx)-before), late
}

// refused is the number of late reports that the nodes have seen refused, each for
// itself: it is for comparing.
func (x *run) refused(ctx context.Context) (sum uint64) {
	for _, n := range x.c.live() {
		if i, err := x.c.info(ctx, n, false); err == nil {
			sum += i.Refused + i.Withdrawn
			x.mostRefused = max(x.mostRefused, i.Refused)
		}
	}
	return sum
}

// ---- networks ----

// around are the links between a node and all others, from it and to it.
func (x *run) around(n *node) (from, to []link) {
	for _, o := range x.c.members() {
		if o != n {
			from, to = append(from, link{n.id, o.id}), append(to, link{o.id, n.id})
		}
	}
	return from, to
}

// deposed cuts links of the leader until another leads, and for a while.
func (x *run) deposed(ctx context.Context, r *rand.Rand, links func(n *node) []link) (string, error) {
	n, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	acked := x.h.next()
	x.c.net.set(rule{cut: true}, links(n)...)
	defer x.c.net.heal()
	var now *node
	err = x.soon(ctx, "another node leads", func() bool {
		now = x.c.leader(ctx)
		return now != nil && now != n
	})
	if err != nil {
		return "", err
	}
	if err := x.acknowledged(ctx, acked); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s → %s leads", n.id, now.id), rest(ctx, time.Duration(r.IntN(2000))*time.Millisecond)
}

func partitionLeader(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.deposed(ctx, r, func(n *node) []link {
		from, to := x.around(n)
		return append(from, to...)
	})
}

func deafLeader(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.deposed(ctx, r, func(n *node) []link { _, to := x.around(n); return to })
}

func muteLeader(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	return x.deposed(ctx, r, func(n *node) []link { from, _ := x.around(n); return from })
}

func partitionNode(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.c.follower(ctx, r.IntN)
	if err != nil {
		return "", err
	}
	from, to := x.around(n)
	x.c.net.set(rule{cut: true}, append(from, to...)...)
	defer x.c.net.heal()
	was, err := x.settled(ctx, n)
	if err != nil {
		return "", err
	}
	// The others must go on for longer than the lease of its worker; it must not.
	if err := rest(ctx, 3500*time.Millisecond); err != nil {
		return "", err
	}
	l, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	is, err1 := x.c.info(ctx, n, false)
	others, err2 := x.c.info(ctx, l, false)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	if is.Applied != was.Applied || others.Applied <= is.Applied {
		return "", fmt.Errorf("%s went from entry %d to %d behind the cut, the leader is at %d", n.id, was.Applied, is.Applied, others.Applied)
	}
	return fmt.Sprintf("%s stayed at entry %d, the leader is at %d", n.id, is.Applied, others.Applied), nil
}

// settled is the state of a node that is cut off, once it has applied what was on its way
// when the links were cut, which on a busy machine is a while.
func (x *run) settled(ctx context.Context, n *node) (is *api.NodeInfo, err error) {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	err = poll(limited, func() (bool, error) {
		was, err := x.c.info(ctx, n, false)
		if err != nil {
			return false, err
		}
		if err := rest(ctx, time.Second); err != nil {
			return false, err
		}
		is, err = x.c.info(ctx, n, false)
		return err == nil && is.Applied == was.Applied, err
	})
	return is, err
}

func partitionClient(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.live()
	n := all[r.IntN(len(all))]
	bad := rule{cut: r.IntN(2) == 0}
	bad.refuse = !bad.cut
	x.c.net.set(bad, link{client, n.id}, link{n.id, client})
	defer x.c.net.heal()
	if reached(ctx, x.c.net.front(n.host, apiPort)) {
		return "", fmt.Errorf("%s is reached all the same", n.id)
	}
	if _, err := x.c.info(ctx, n, false); err != nil {
		return "", err
	}
	acked := x.h.next()
	if err := x.acknowledged(ctx, acked); err != nil {
		return "", err
	}
	return fmt.Sprintf("clients did not reach %s (refused: %v)", n.id, bad.refuse), rest(ctx, time.Duration(1000+r.IntN(2000))*time.Millisecond)
}

// reached tells whether a node answers a client at an address.
func reached(ctx context.Context, addr string) bool {
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return false
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return err == nil
}

// everywhere are all links between nodes and with clients.
func (x *run) everywhere() []link {
	var out []link
	ends := []string{client}
	for _, n := range x.c.members() {
		ends = append(ends, n.id)
	}
	for _, a := range ends {
		for _, b := range ends {
			if a != b {
				out = append(out, link{a, b})
			}
		}
	}
	return out
}

func slowLinks(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	bad := rule{delay: time.Duration(10+r.IntN(40)) * time.Millisecond, jitter: 60 * time.Millisecond, rate: 2 << 20}
	x.c.net.set(bad, x.everywhere()...)
	defer x.c.net.heal()
	n := x.c.live()[0]
	conn, err := grpc.NewClient("passthrough:///"+x.c.net.front(n.host, apiPort), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	begun := time.Now()
	ask, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	if _, err := api.NewPeersClient(conn).Info(ask, &api.InfoRequest{}); err != nil {
		return "", err
	}
	took := time.Since(begun)
	if took < 2*bad.delay {
		return "", fmt.Errorf("an answer took %v over links with a delay of %v", took, bad.delay)
	}
	return fmt.Sprintf("an answer took %v", took.Round(time.Millisecond)), rest(ctx, 3*time.Second)
}

func lossyLinks(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	stalls, resets := x.c.net.stalls.Load(), x.c.net.resets.Load()
	x.c.net.set(rule{loss: 0.02 + 0.1*r.Float64(), reset: 0.002}, x.everywhere()...)
	defer x.c.net.heal()
	err := rest(ctx, 3*time.Second)
	if err == nil {
		err = x.soon(ctx, "something is lost and a connection breaks", func() bool {
			return x.c.net.stalls.Load() > stalls && x.c.net.resets.Load() > resets
		})
	}
	return fmt.Sprintf("%d chunks came late, %d connections broke", x.c.net.stalls.Load()-stalls, x.c.net.resets.Load()-resets), err
}

// ---- leaders, members, clocks ----

// handOver asks the leader to let another node lead, and waits until one leads in a
// later term. That may be the same node: the one it named can fail to win its election.
// Where the node that was asked leads no more, it is enough that one does.
func (x *run) handOver(ctx context.Context) error {
	n, err := x.leader(ctx)
	if err != nil {
		return err
	}
	before, err := x.c.info(ctx, n, false)
	if err != nil {
		return err
	}
	ask, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	reply, err := api.NewPeersClient(n.conn).HandOver(ask, &api.HandOverRequest{})
	if err != nil {
		return err
	}
	if reply.Error != nil && reply.Error.Code != api.Code_NOT_LEADER {
		return fmt.Errorf("hand over: %s", reply.Error.Message)
	}
	if reply.Error != nil {
		_, err := x.leader(ctx)
		return err
	}
	return x.soon(ctx, "a node leads in a later term", func() bool {
		l := x.c.leader(ctx)
		if l == nil {
			return false
		}
		i, err := x.c.info(ctx, l, false)
		return err == nil && i.Term > before.Term
	})
}

func handOver(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	way, moves := n.id, 0
	for range 5 {
		acked := x.h.next()
		if err := x.handOver(ctx); err != nil {
			return "", err
		}
		if err := x.acknowledged(ctx, acked); err != nil {
			return "", err
		}
		was := n
		if n, err = x.leader(ctx); err != nil {
			return "", err
		}
		way += " → " + n.id
		if n != was {
			moves++
		}
	}
	if moves == 0 {
		return "", fmt.Errorf("asked five times to hand over, the same node always led again: %s", way)
	}
	return way, nil
}

// stop asks a node to stop, and starts it again.
func (x *run) stop(ctx context.Context, n *node) error {
	if err := n.proc.end(syscall.SIGTERM, stopLimit); err != nil {
		return err
	}
	if code, sig := n.proc.how(); code != 0 {
		return fmt.Errorf("%s was asked to stop and ended with code %d, signal %v%s", n.id, code, sig, x.c.tail(n))
	}
	return nil
}

func stopLeader(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	pid := n.proc.pid()
	acked := x.h.next()
	if err := x.stop(ctx, n); err != nil {
		return "", err
	}
	if err := x.acknowledged(ctx, acked); err != nil {
		return "", err
	}
	if err := x.c.spawn(n); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: process %d → %d", n.id, pid, n.proc.pid()), nil
}

func rollingRestart(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	before := ids(x.c.members())
	for _, n := range x.c.members() {
		if err := x.stop(ctx, n); err != nil {
			return "", err
		}
		if err := x.c.spawn(n); err != nil {
			return "", err
		}
		if err := x.c.awaitHealthy(ctx); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("processes %s → %s", before, ids(x.c.members())), nil
}

func addNode(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	if len(x.c.members()) > 5 {
		return removeNode(ctx, x, r)
	}
	n, err := x.c.addMember()
	if err != nil {
		return "", err
	}
	return n.id + " is a member", nil
}

// addAndKill: a node that has joined and is behind is not needed for a majority. Its
// disk hangs at its first write, so that it gets nothing of the log.
func addAndKill(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	old := x.c.members()
	if len(old) > 4 {
		return removeNode(ctx, x, r)
	}
	n, err := x.c.newNode()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(x.c.stallPath(n), nil, 0o600); err != nil {
		return "", err
	}
	if err := x.c.startMember(n); err != nil {
		return "", err
	}
	if err := x.joined(ctx, n); err != nil {
		return "", err
	}
	evidence, err := x.killAndRestart(ctx, r, old[r.IntN(len(old))])
	if err != nil {
		return "", err
	}
	code, _, err := x.c.awaitExit(ctx, n, healthLimit)
	if err := errors.Join(err, os.Remove(x.c.stallPath(n))); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s joined, got nothing and ended with code %d, %s", n.id, code, evidence), x.c.spawn(n)
}

// joined waits until a node is a member.
func (x *run) joined(ctx context.Context, n *node) error {
	return x.soon(ctx, n.id+" is a member", func() bool {
		l := x.c.leader(ctx)
		if l == nil {
			return false
		}
		s, err := x.c.status(ctx, l)
		return err == nil && slices.ContainsFunc(s.Nodes, func(i *api.NodeInfo) bool { return i.Id == n.id })
	})
}

func removeNode(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.members()
	if len(all) <= 3 {
		if _, err := addNode(ctx, x, r); err != nil {
			return "", err
		}
	}
	n := all[r.IntN(len(all))]
	acked := x.h.next()
	led := x.c.leader(ctx) == n
	if err := x.c.removeMember(ctx, n); err != nil {
		return "", err
	}
	if err := x.acknowledged(ctx, acked); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s is no member any more (it led: %v)", n.id, led), n.proc.end(syscall.SIGKILL, stopLimit)
}

func replaceNode(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	all := x.c.members()
	n := all[r.IntN(len(all))]
	if err := x.kill(n); err != nil {
		return "", err
	}
	return x.replace(ctx, n)
}

// replace puts an empty node in the place of one that is down.
func (x *run) replace(ctx context.Context, n *node) (string, error) {
	if err := x.c.removeMember(ctx, n); err != nil {
		return "", err
	}
	if err := os.RemoveAll(n.dir); err != nil && !n.full {
		return "", err
	}
	m, err := x.c.addMember()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s took the place of %s", m.id, n.id), nil
}

func clockJumps(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	n, err := x.leader(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = os.WriteFile(x.c.clockPath(n), []byte("0s"), 0o600) }()
	cl := x.load.clients[0]
	submitted := func() (time.Time, error) {
		i, err := cl.Run(ctx, x.load.cell(tasks.Task{Source: "1"}))
		if err != nil {
			return time.Time{}, err
		}
		return i.Submitted, nil
	}
	first, err := submitted()
	if err != nil {
		return "", err
	}
	var times []time.Time
	ahead := max(time.Until(first), 0) // the state's clock, after earlier jumps
	// All jumps together stay below the time for which finished tasks are kept.
	by := time.Duration((0.5 + r.Float64()) * float64(max((6*24*time.Hour-ahead)/10, time.Minute)))
	for _, off := range []time.Duration{ahead + by, -by, 0} {
		if err := os.WriteFile(x.c.clockPath(n), []byte(off.String()), 0o600); err != nil {
			return "", err
		}
		if err := rest(ctx, 500*time.Millisecond); err != nil {
			return "", err
		}
		now, err := submitted()
		if err != nil {
			return "", err
		}
		// Delayed tasks must not wait for the clock to come again to where it was.
		begun := time.Now()
		late, cancel := context.WithTimeout(ctx, healthLimit)
		_, err = cl.Run(late, x.load.cell(tasks.Task{Source: "1", Delay: 100 * time.Millisecond}))
		cancel()
		if err != nil {
			x.violate(promiseLive, "a task with a delay of 100 ms did not run within %v after the clock jumped by %v", time.Since(begun), off)
			return "", err
		}
		times = append(times, now)
	}
	for i := range times {
		if before := append([]time.Time{first}, times...)[i]; times[i].Before(before) {
			x.violate(promiseOne, "the clock of the state ran back from %v to %v", before, times[i])
		}
	}
	if x.c.leader(ctx) == n && times[0].Sub(first) < by/2 {
		return "", fmt.Errorf("the clock of %s was to jump by %v, the state's went from %v to %v", n.id, by, first, times[0])
	}
	return fmt.Sprintf("the clock of %s jumped %v forward and back, the state's by %v", n.id, by, times[0].Sub(first).Round(time.Minute)), nil
}

// clientsHear is how long clients take to hear of a new member: they ask every second.
const clientsHear = 2 * time.Second

func leaveOldest(ctx context.Context, x *run, r *rand.Rand) (string, error) {
	for len(x.c.members()) < 3 {
		if _, err := x.c.addMember(); err != nil {
			return "", err
		}
		if err := x.c.awaitHealthy(ctx); err != nil { // all vote
			return "", err
		}
		if err := rest(ctx, clientsHear); err != nil {
			return "", err
		}
	}
	n := x.c.members()[0]
	if err := x.kill(n); err != nil {
		return "", err
	}
	if err := x.c.removeMember(ctx, n); err != nil {
		return "", err
	}
	_, err := x.c.addMember()
	return fmt.Sprintf("%s is gone, %d others have its state", n.id, len(x.c.members())), err
}

// ---- crash points ----

// crashAt makes a node die at one of the named points.
func crashAt(points ...string) func(context.Context, *run, *rand.Rand) (string, error) {
	return func(ctx context.Context, x *run, r *rand.Rand) (string, error) {
		point := points[r.IntN(len(points))]
		all := x.c.members()
		n := all[r.IntN(len(all))]
		at := 1 + r.IntN(20)
		if point == "snapshot.write" || point == "vote.before-write" {
			at = 1 + r.IntN(2)
		}
		if err := x.kill(n); err != nil {
			return "", err
		}
		if err := x.c.spawn(n, fmt.Sprintf("%s=%s:%d", crash.Variable, point, at)); err != nil {
			return "", err
		}
		if err := x.diesOf(ctx, n, point); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s died at %s, time %d", n.id, point, at), x.c.spawn(n)
	}
}

// diesOf waits until a node has died of its crash point. Leadership moves meanwhile:
// some points are passed only then, or by leaders only.
func (x *run) diesOf(ctx context.Context, n *node, point string) error {
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	for {
		_, sig, err := x.c.awaitExit(ctx, n, 2*time.Second)
		switch {
		case err == nil && sig == syscall.SIGKILL:
			return nil
		case err == nil:
			return fmt.Errorf("%s ended before it came to %s: %s", n.id, point, x.c.ending(n))
		case ctx.Err() != nil:
			return fmt.Errorf("%s did not come to %s", n.id, point)
		}
		if x.c.leader(ctx) != n {
			_ = x.handOver(ctx) // it may fail: the node that would lead dies
		}
	}
}
