package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"farm/api"
	"farm/tasks"
)

// fakeFarm answers as a farm does, without running anything: what a cell does
// is written in it. "value V" has the value V, "fail KIND MESSAGE" fails,
// "print TEXT" prints, "never" does not end.
type fakeFarm struct {
	api.UnimplementedFarmServer
	addr string

	version atomic.Uint64 // of every namespace; 0: as it is written below
	hold    chan struct{} // when there, nothing is answered until it is closed
	changed chan struct{} // closed when a task was cancelled

	mu    sync.Mutex
	calls []*api.Call // those that are not about status
	vars  map[string]map[string]string
	tasks map[string]*api.Task
	jobs  map[string]*api.Job // besides those that have succeeded

	queues map[string]*api.Queue
	unique map[string]string // task by unique key, for ever

	stored map[string][]*api.Item // of namespaces that were imported

	watched map[string]bool // tasks, by their ids
}

func newFakeFarm(t *testing.T) *fakeFarm {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeFarm{addr: l.Addr().String(), vars: map[string]map[string]string{}, tasks: map[string]*api.Task{},
		stored: map[string][]*api.Item{}}
	s := grpc.NewServer()
	f.changed = make(chan struct{})
	api.RegisterFarmServer(s, f)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return f
}

func (f *fakeFarm) Do(g api.Farm_DoServer) error {
	for {
		m, err := g.Recv()
		if err != nil {
			return err
		}
		out := &api.Replies{}
		for _, c := range m.Calls {
			if r := f.answer(c); r != nil {
				r.Seq = c.Seq
				if n := r.GetNamespace(); n != nil && f.version.Load() > 0 {
					n.Version = f.version.Load()
				}
				out.Replies = append(out.Replies, r)
			}
		}
		if err := g.Send(out); err != nil {
			return err
		}
	}
}

func refuse(code api.Code, format string, args ...any) *api.Reply {
	return &api.Reply{Error: &api.Error{Code: code, Message: fmt.Sprintf(format, args...)}}
}

func taskReply(t *api.Task) *api.Reply { return &api.Reply{Result: &api.Reply_Task{Task: t}} }

func jobReply(id, state string) *api.Reply {
	return &api.Reply{Result: &api.Reply_Job{Job: &api.Job{Id: id, State: state, LastFold: "fold"}}}
}

func (f *fakeFarm) answer(c *api.Call) *api.Reply {
	f.mu.Lock()
	defer f.mu.Unlock()
	if hold := f.hold; hold != nil {
		f.mu.Unlock()
		<-hold
		f.mu.Lock()
	}
	if c.GetStatus() == nil {
		f.calls = append(f.calls, c)
	}
	switch op := c.Op.(type) {
	case *api.Call_Status:
		return &api.Reply{Result: &api.Reply_Status{Status: fakeStatus()}}
	case *api.Call_DrainWorker:
		w := fakeStatus().Workers[0]
		if op.DrainWorker.Worker != w.Id {
			return refuse(api.Code_NOT_FOUND, "there is no worker %s", op.DrainWorker.Worker)
		}
		return &api.Reply{Result: &api.Reply_Worker{Worker: w}}
	case *api.Call_Submit:
		t := f.run(op.Submit)
		if op.Submit.Wait && t.State == "running" {
			return nil
		}
		return taskReply(t)
	case *api.Call_Wait:
		return f.taskCall(op.Wait.Id, true)
	case *api.Call_GetTask:
		return f.taskCall(op.GetTask.Id, false)
	case *api.Call_Cancel:
		if t := f.tasks[op.Cancel.Id]; t != nil && t.State == "running" {
			t = proto.CloneOf(t) // the old one may be on its way to somebody
			t.State, t.Error = "cancelled", &api.TaskError{Kind: "cancelled"}
			f.tasks[op.Cancel.Id] = t
			close(f.changed)
			f.changed = make(chan struct{})
		}
		return f.taskCall(op.Cancel.Id, false)
	case *api.Call_PutSchedule, *api.Call_GetSchedule, *api.Call_ListSchedules, *api.Call_ChangeSchedule:
		return f.schedule(c)
	case *api.Call_RetryTask:
		return f.retry(op.RetryTask.Id)
	case *api.Call_DropTask:
		if t := f.tasks[op.DropTask.Id]; t != nil && t.State != "failed" {
			return refuse(api.Code_CONFLICT, "task %s is %s", t.Id, t.State)
		}
		delete(f.tasks, op.DropTask.Id)
		return taskReply(&api.Task{Id: op.DropTask.Id})
	case *api.Call_ListTasks:
		list := &api.TaskList{}
		for _, id := range slices.Sorted(maps.Keys(f.tasks)) {
			q, t := op.ListTasks, f.tasks[id]
			if (q.State == "" || q.State == t.State) && (q.Queue == "" || q.Queue == t.Queue) {
				list.Tasks = append(list.Tasks, t)
			}
		}
		return &api.Reply{Result: &api.Reply_Tasks{Tasks: list}}
	case *api.Call_ListQueues:
		return f.queueReply(op.ListQueues.Name)
	case *api.Call_SetQueue:
		return f.setQueue(op.SetQueue)
	case *api.Call_OpenJob:
		return jobReply(op.OpenJob.Id, "open")
	case *api.Call_SealJob:
		return jobReply(op.SealJob.Id, "succeeded")
	case *api.Call_GetJob:
		if j := f.jobs[op.GetJob.Id]; j != nil {
			return &api.Reply{Result: &api.Reply_Job{Job: j}}
		}
		return jobReply(op.GetJob.Id, "succeeded")
	case *api.Call_RetryJob:
		return &api.Reply{Result: &api.Reply_Job{Job: &api.Job{Id: op.RetryJob.Id, State: "running", Inputs: 8, Done: 5, Retries: 1, Created: 1_000_000_000}}}
	case *api.Call_ListFailures:
		return &api.Reply{Result: &api.Reply_Failures{Failures: &api.FailureList{Failures: []*api.Failure{
			{Task: "bad.4", Position: 7, Input: []byte(`{"n":7}`), Error: &api.TaskError{Kind: "panic", Message: "no"}},
			{Task: "bad.0/fold", Fold: true, Error: &api.TaskError{Kind: "cancelled"}}}}}}
	case *api.Call_CancelJob:
		return jobReply(op.CancelJob.Id, "cancelled")
	case *api.Call_ListJobs:
		return &api.Reply{Result: &api.Reply_Jobs{Jobs: &api.JobList{Jobs: []*api.Job{
			{Id: "j2", State: "open", Succeeded: 3, Created: 2_000_000_000},
			{Id: "j1", State: "failed", Total: 9, Succeeded: 8, Failed: 1, Folds: 8, Folded: 8, Created: 1_000_000_000, Finished: 2_500_000_000}}}}}
	}
	return f.space(c)
}

func (f *fakeFarm) queueReply(names ...string) *api.Reply {
	if names[0] == "" {
		names = slices.Sorted(maps.Keys(f.queues))
		if !slices.Contains(names, "default") {
			names = slices.Insert(names, 0, "default")
		}
	}
	list := &api.QueueList{}
	for _, name := range names {
		q := f.queues[name]
		if q == nil {
			q = &api.Queue{Name: name}
		}
		list.Queues = append(list.Queues, q)
	}
	return &api.Reply{Result: &api.Reply_Queues{Queues: list}}
}

func (f *fakeFarm) setQueue(s *api.SetQueue) *api.Reply {
	q := &api.Queue{Name: s.Name}
	if f.queues[s.Name] != nil {
		q = proto.CloneOf(f.queues[s.Name])
	}
	if f.queues == nil {
		f.queues = map[string]*api.Queue{}
	}
	f.queues[s.Name] = q
	if s.Paused != nil {
		q.Paused = *s.Paused
	}
	if s.Concurrency != nil {
		q.Concurrency = *s.Concurrency
	}
	if s.KeyConcurrency != nil {
		q.KeyConcurrency = *s.KeyConcurrency
	}
	if s.Rate != nil {
		q.Rate = s.Rate
	}
	if s.KeyRate != nil {
		q.KeyRate = s.KeyRate
	}
	return f.queueReply(s.Name)
}

func (f *fakeFarm) taskCall(id string, wait bool) *api.Reply {
	t := f.tasks[id]
	if id == "fold" {
		t = &api.Task{Id: id, State: "succeeded", Value: []byte(`{"sum":10}`)}
	}
	switch {
	case t == nil:
		return refuse(api.Code_NOT_FOUND, "there is no task %s", id)
	case wait && t.State == "running":
		return nil
	}
	return taskReply(t)
}

// schedule answers calls about schedules: there is one, nightly.
func (f *fakeFarm) schedule(c *api.Call) *api.Reply {
	v := &api.Schedule{Name: "nightly", Spec: "30 2 * * *", Zone: "Europe/Berlin", CatchUp: "none", Created: 1_000_000_000, Next: 1_795_743_000_000_000_000,
		Last: 2_000_000_000, LastTask: "nightly.19700101T000002Z", Fired: 3, Task: &api.Submit{Namespace: "c0", Work: &api.Work{Source: "6*7"}}}
	name := cmp.Or(c.GetGetSchedule().GetName(), c.GetChangeSchedule().GetName())
	switch q := c.GetChangeSchedule(); {
	case c.GetListSchedules() != nil:
		return &api.Reply{Result: &api.Reply_Schedules{Schedules: &api.ScheduleList{Schedules: []*api.Schedule{v}}}}
	case c.GetPutSchedule() != nil:
		v = proto.CloneOf(c.GetPutSchedule().Schedule)
		v.Next = 1_795_743_000_000_000_000
	case name != v.Name:
		return refuse(api.Code_NOT_FOUND, "there is no schedule %s", name)
	case q.GetChange() == "run":
		return taskReply(&api.Task{Id: "nightly.run-1", State: "queued"})
	case q.GetChange() == "pause":
		v.Paused = true
	}
	return &api.Reply{Result: &api.Reply_Schedule{Schedule: v}}
}

func (f *fakeFarm) retry(id string) *api.Reply {
	t := f.tasks[id]
	switch {
	case t == nil:
		return refuse(api.Code_NOT_FOUND, "there is no task %s", id)
	case t.State == "succeeded":
		return refuse(api.Code_CONFLICT, "task %s succeeded", id)
	}
	t = proto.CloneOf(t)
	t.State, t.Error = "queued", nil
	f.tasks[id] = t
	return taskReply(t)
}

// run is what a submitted task comes to.
func (f *fakeFarm) run(s *api.Submit) *api.Task {
	t := &api.Task{Id: s.Id, Namespace: s.Namespace, Attempt: 1, Worker: "n1", State: "succeeded", Submitted: 1_000_000_001, Started: 2_000_000_000, Finished: 2_500_000_000}
	if parent, _, child := strings.Cut(s.Id, "/"); child { // as of one that a task submitted
		t.Parent = parent
	}
	for _, in := range s.Work.Inputs {
		t.Results = append(t.Results, []byte("["+string(in)+"]"))
	}
	for line := range strings.Lines(s.Work.Source) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), "// ")
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "value":
			t.Value, t.Type = []byte(rest), "T"
		case "print":
			t.Stdout = append(t.Stdout, rest+"\n"...)
		case "fail":
			kind, msg, _ := strings.Cut(rest, " ")
			t.State, t.Error = "failed", &api.TaskError{Kind: kind, Message: msg, Stack: []string{"2:3"}}
			if kind == "cancelled" {
				t.State = "cancelled"
			}
		case "never":
			t.State, t.Finished = "running", 0
		}
	}
	if u := s.Unique; u != nil {
		if id := f.unique[u.Key]; id != "" {
			return f.tasks[id]
		}
		if f.unique == nil {
			f.unique = map[string]string{}
		}
		f.unique[u.Key] = s.Id
	}
	t.Queue, t.Key, t.Needs = s.Queue, s.Key, s.Needs
	f.tasks[s.Id] = t
	return t
}

// space answers calls about namespaces.
func (f *fakeFarm) space(c *api.Call) *api.Reply {
	finished := taskReply(&api.Task{Id: "x", State: "succeeded"})
	switch op := c.Op.(type) {
	case *api.Call_Set:
		if op.Set.Key == "func" {
			return refuse(api.Code_INVALID, "func is not a name")
		}
		if f.vars[op.Set.Namespace] == nil {
			f.vars[op.Set.Namespace] = map[string]string{}
		}
		f.vars[op.Set.Namespace][op.Set.Key] = string(op.Set.Json)
		return finished
	case *api.Call_Get:
		v, ok := f.vars[op.Get.Namespace][op.Get.Key]
		if !ok {
			return refuse(api.Code_NOT_FOUND, "namespace %s has no variable %s", op.Get.Namespace, op.Get.Key)
		}
		return &api.Reply{Result: &api.Reply_Variable{Variable: &api.Variable{Json: []byte(v), Type: "int", Version: 3}}}
	case *api.Call_Delete:
		if op.Delete.Key == "used" {
			return refuse(api.Code_CONFLICT, "used is in use by f")
		}
		delete(f.vars[op.Delete.Namespace], op.Delete.Key)
		return finished
	case *api.Call_Drop:
		delete(f.vars, op.Drop.Namespace)
		return finished
	case *api.Call_GetHistory:
		return &api.Reply{Result: &api.Reply_History{History: &api.History{Versions: []*api.Version{
			{Number: 3, Made: 2_500_000_000, Task: "t3", Changed: 1, Restorable: true}, {Number: 2, Made: 1_000_000_000, Task: "t2", Changed: 4}}}}}
	case *api.Call_Restore:
		if op.Restore.Version != 3 {
			return taskReply(&api.Task{Id: op.Restore.Id, State: "failed", Error: &api.TaskError{Kind: "not-found", Message: "no longer kept"}})
		}
		return finished
	case *api.Call_Fork:
		if f.vars[op.Fork.Namespace] != nil {
			return taskReply(&api.Task{Id: op.Fork.Id, State: "failed", Error: &api.TaskError{Kind: "conflict", Message: "it exists"}})
		}
		f.vars[op.Fork.Namespace] = f.vars[op.Fork.From]
		return finished
	case *api.Call_Import:
		f.stored[op.Import.Namespace] = op.Import.Items
		f.vars[op.Import.Namespace] = map[string]string{}
		return finished
	case *api.Call_ListNamespaces:
		list := &api.NamespaceList{}
		for _, name := range slices.Sorted(maps.Keys(f.vars)) {
			if ok, _ := path.Match(op.ListNamespaces.Pattern, name); ok || op.ListNamespaces.Pattern == "" {
				list.Namespaces = append(list.Namespaces, &api.Namespace{Name: name, Version: 2, Items: uint64(len(f.vars[name])), Bytes: 99})
			}
		}
		return &api.Reply{Result: &api.Reply_Namespaces{Namespaces: list}}
	case *api.Call_GetNamespace:
		if f.vars[op.GetNamespace.Name] == nil {
			return refuse(api.Code_NOT_FOUND, "there is no namespace %s", op.GetNamespace.Name)
		}
		n := &api.Namespace{Name: op.GetNamespace.Name, Version: 2}
		if op.GetNamespace.Items {
			n.Stored = f.stored[op.GetNamespace.Name]
		} else {
			n.Declarations = []*api.Declaration{{Name: "strings", Kind: "import", Source: "strings"}, {Name: "f", Kind: "func", Source: "func f() {}"}}
			n.Variables = []*api.VariableInfo{{Name: "x", Type: "int", Bytes: 9, Version: 2}}
		}
		return &api.Reply{Result: &api.Reply_Namespace{Namespace: n}}
	}
	return refuse(api.Code_INVALID, "unknown call")
}

func (f *fakeFarm) Watch(q *api.WatchRequest, g api.Farm_WatchServer) error {
	f.mu.Lock()
	t, changed := f.tasks[q.Id], f.changed
	if f.watched == nil {
		f.watched = map[string]bool{}
	}
	f.watched[q.Id] = true
	f.mu.Unlock()
	if t == nil {
		return status.Error(codes.NotFound, "there is no task "+q.Id)
	}
	if half := t.Stdout[:len(t.Stdout)/2]; len(half) > 0 { // the rest comes with the task
		g.Send(&api.Event{Event: &api.Event_Output{Output: &api.Output{Task: q.Id, Attempt: 1, Data: half}}})
	}
	for t.State == "running" {
		select {
		case <-g.Context().Done():
			return g.Context().Err()
		case <-changed:
		}
		f.mu.Lock()
		t, changed = f.tasks[q.Id], f.changed
		f.mu.Unlock()
	}
	return g.Send(&api.Event{Event: &api.Event_Task{Task: t}})
}

// submitted are the tasks that reached the farm.
// runs tells whether whoever submitted the last task waits for its end.
func (f *fakeFarm) runs(source string) bool {
	s := f.submitted()
	last := s[len(s)-1]
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(last.Work.Source, source) && f.watched[last.Id]
}

func (f *fakeFarm) submitted() (out []*api.Submit) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if s := c.GetSubmit(); s != nil {
			out = append(out, s)
		}
	}
	return out
}

func fakeStatus() *api.Status {
	return &api.Status{Leader: "n1", Term: 3,
		Nodes:   []*api.NodeInfo{{Id: "n1", Raft: "127.0.0.1:1", Api: "", Pid: 123, Role: "leader", Voter: true, Applied: 812, Hash: "abcd", Reachable: true}},
		Workers: []*api.WorkerInfo{{Id: "n1", Node: "n1", Slots: 2, Busy: 1, State: "ready", Isolation: "full", Has: []string{"label:gpu=1"}}},
		Running: 1, Succeeded: 9}
}

// ended is how a command line ended.
type ended struct {
	code     int
	out, err string
}

// farmCommand runs a command line against a fake farm. Without one, a
// connection fails the test.
func farmCommand(ctx context.Context, t *testing.T, f *fakeFarm, stdin string, args ...string) ended {
	t.Helper()
	var out, errs bytes.Buffer
	a := fakeApp(t, f, streams{in: strings.NewReader(stdin), out: &out, err: &errs})
	code := a.run(ctx, append([]string{"farm"}, args...))
	return ended{code, out.String(), errs.String()}
}

// fakeApp is the command, connected to a fake farm.
func fakeApp(t *testing.T, f *fakeFarm, io streams) *app {
	a := &app{io: io}
	a.connect = func(ctx context.Context, _ string) (*connection, error) {
		if f == nil {
			t.Error("it connects")
			return nil, context.Canceled
		}
		c, err := tasks.Dial(ctx, f.addr)
		if err != nil {
			return nil, err
		}
		return &connection{Client: c}, nil
	}
	a.running = a.connect
	return a
}
