package main

import (
	"encoding/json"
	"time"

	"farm/chaos"
	"farm/internal/bench"
	"farm/tasks"
)

// printJSON writes an object as one line, or as -o says.
func (a *app) printJSON(v any) error {
	if a.template != nil {
		return execute(a.io.out, a.template, v)
	}
	e := json.NewEncoder(a.io.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// The field names below are part of what scripts rely on. What a field means is in
// its about tag, from which docs/json.md is made.

type taskJSON struct {
	ID        string            `json:"id" about:"of the task"`
	Namespace string            `json:"namespace,omitempty" about:"it ran in; none for a private context"`
	Job       string            `json:"job,omitempty" about:"it belongs to"`
	Parent    string            `json:"parent,omitempty" about:"the task that submitted it; none for one of a client"`
	Handler   string            `json:"handler,omitempty" about:"it calls; none for a cell"`
	State     tasks.State       `json:"state" about:"queued, running, succeeded, failed, cancelled"`
	Attempt   int               `json:"attempt,omitempty" about:"number of the current or last attempt, from 1"`
	Worker    string            `json:"worker,omitempty" about:"that runs it or ran it last"`
	Value     json.RawMessage   `json:"value,omitempty" about:"of the last expression, as JSON"`
	Type      string            `json:"type,omitempty" about:"Go type of the value"`
	Results   []json.RawMessage `json:"results,omitempty" about:"of a call with inputs, in their order"`
	Stdout    *string           `json:"stdout,omitempty" about:"what the last attempt printed; once the task has ended"`
	Stderr    *string           `json:"stderr,omitempty" about:"the same, of its standard error"`
	Error     *errorJSON        `json:"error,omitempty" about:"why it failed or was cancelled"`
	Causes    []string          `json:"causes,omitempty" about:"why attempts ended that did not succeed"`
	Progress  *progressJSON     `json:"progress,omitempty" about:"of a running task: what it last said; task show and task wait only"`
	Submitted string            `json:"submitted,omitempty" about:"time it was accepted"`
	Started   string            `json:"started,omitempty" about:"time the current or last attempt began"`
	Finished  string            `json:"finished,omitempty" about:"time it ended"`
	NotBefore string            `json:"not_before,omitempty" about:"time before which a queued task is not tried, for its delay or after a failure"`
	Deadline  string            `json:"deadline,omitempty" about:"time at which it fails unless it has ended"`
	Keep      string            `json:"keep,omitempty" about:"how long it is kept after its end, such as 48h0m0s; left out: the default"`
	After     []string          `json:"after,omitempty" about:"tasks it runs after"`
	AfterWhen tasks.When        `json:"after_when,omitempty" about:"what must have become of them: all (have succeeded), any (has succeeded), finished"`
	Awaits    []string          `json:"awaits,omitempty" about:"those of after that have not ended, while it waits for them"`
	Labels    map[string]string `json:"labels,omitempty" about:"its worker must have"`
	Queue     string            `json:"queue,omitempty" about:"it is limited, paused and counted with"`
	Key       string            `json:"key,omitempty" about:"the limits per key of its queue count by"`
	Unique    string            `json:"unique,omitempty" about:"its unique key"`
	Waiting   string            `json:"waiting,omitempty" about:"what a queued task waits for, in words; task show only"`
}

type progressJSON struct {
	Done    int64  `json:"done" about:"so far"`
	Total   int64  `json:"total,omitempty" about:"of how much, if that is known"`
	Message string `json:"message,omitempty" about:"what it is at"`
}

type errorJSON struct {
	Kind    string   `json:"kind" about:"one of compile, not-allowed, panic, exit, crash, timeout, memory, cancelled, unserializable, limit, goroutine, call, conflict, not-found, invalid, lost, expired, dependency, internal; of a handler also error (what it returned) and stuck"`
	Message string   `json:"message" about:"for people; positions in a cell are line:column"`
	Stack   []string `json:"stack,omitempty" about:"of a panic, innermost first"`
}

func jsonTask(i *tasks.Info) taskJSON {
	t := taskJSON{ID: i.ID, Namespace: i.Namespace, Job: i.Job, Parent: i.Parent, Handler: i.Handler, State: i.State, Attempt: i.Attempt, Worker: i.Worker, Value: i.Value, Type: i.Type,
		Results: i.Results, Causes: i.Causes, Submitted: jsonTime(i.Submitted), Started: jsonTime(i.Started), Finished: jsonTime(i.Finished),
		Labels: some(i.Labels), Waiting: i.Waiting, Queue: i.Queue, Key: i.Key, Unique: i.UniqueKey}
	t.NotBefore, t.Deadline, t.After, t.AfterWhen, t.Awaits = jsonTime(i.NotBefore), jsonTime(i.Deadline), i.After, i.AfterWhen, i.Awaits
	if i.Keep > 0 {
		t.Keep = i.Keep.String()
	}
	if i.State.Final() { // only then it is known
		t.Stdout, t.Stderr = &i.Stdout, &i.Stderr
	}
	if p := i.Progress; p != nil {
		t.Progress = &progressJSON{p.Done, p.Total, p.Message}
	}
	if e := i.Error; e != nil {
		t.Error = &errorJSON{e.Kind, e.Message, e.Stack}
	}
	return t
}

func jsonTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

type variableJSON struct {
	Namespace string          `json:"namespace" about:"that holds it"`
	Key       string          `json:"key" about:"its name"`
	Value     json.RawMessage `json:"value" about:"its value as JSON"`
	Type      string          `json:"type" about:"its Go type"`
	Version   uint64          `json:"version" about:"of the namespace when it last changed"`
}

type namespaceJSON struct {
	Name         string            `json:"name" about:"of the namespace"`
	Version      uint64            `json:"version" about:"changes committed so far"`
	Epoch        uint64            `json:"epoch" about:"of its last placement on a worker"`
	Worker       string            `json:"worker,omitempty" about:"where it is placed"`
	Engine       string            `json:"engine,omitempty" about:"that runs its cells; ns show only"`
	Items        int               `json:"items" about:"number of variables, declarations, imports, and of the name of the engine"`
	Bytes        int64             `json:"bytes" about:"of all items, encoded"`
	Queue        int               `json:"queue" about:"tasks that are not finished"`
	Created      string            `json:"created,omitempty" about:"time of its first change"`
	Changed      string            `json:"changed,omitempty" about:"time of its last change"`
	Variables    []varInfoJSON     `json:"variables,omitempty" about:"by name; ns show only"`
	Declarations []declarationJSON `json:"declarations,omitempty" about:"in the order in which they must be read; ns show only"`
}

type versionJSON struct {
	Version    uint64 `json:"version" about:"its number"`
	Made       string `json:"made" about:"time it was made"`
	Task       string `json:"task" about:"that made it"`
	Changed    int    `json:"changed" about:"items put or removed"`
	Restorable bool   `json:"restorable" about:"whether farm ns restore can bring it back"`
}

type exportJSON struct {
	Namespace string `json:"namespace" about:"that was written"`
	Version   uint64 `json:"version" about:"it had"`
	Items     int    `json:"items" about:"variables and declarations in it"`
	Bytes     int    `json:"bytes" about:"of the file"`
	File      string `json:"file" about:"that was written"`
}

type varInfoJSON struct {
	Name    string `json:"name" about:"of the variable"`
	Type    string `json:"type" about:"its Go type"`
	Bytes   int64  `json:"bytes" about:"of its value, encoded"`
	Version uint64 `json:"version" about:"of the namespace when it last changed"`
}

type declarationJSON struct {
	Name   string `json:"name" about:"of the declaration"`
	Kind   string `json:"kind" about:"import, const, var, type, func, …"`
	Source string `json:"source" about:"as Go; of an import, its path"`
}

func jsonNamespace(n *tasks.NamespaceInfo) namespaceJSON {
	out := namespaceJSON{Name: n.Name, Version: n.Version, Epoch: n.Epoch, Worker: n.Worker, Engine: n.Engine, Items: n.Items, Bytes: n.Bytes, Queue: n.Queue,
		Created: jsonTime(n.Created), Changed: jsonTime(n.Changed)}
	for _, v := range n.Variables {
		out.Variables = append(out.Variables, varInfoJSON(v))
	}
	for _, d := range n.Declarations {
		out.Declarations = append(out.Declarations, declarationJSON(d))
	}
	return out
}

type statusJSON struct {
	Leader  string       `json:"leader" about:"id of the node that leads; empty while none does"`
	Term    uint64       `json:"term" about:"of the leader"`
	Nodes   []nodeJSON   `json:"nodes" about:"members of the cluster"`
	Workers []workerJSON `json:"workers" about:"that are known"`
	Tasks   countsJSON   `json:"tasks" about:"numbers of tasks: live ones now, final ones ever"`
	Queues  []queueJSON  `json:"queues" about:"as of queue ls"`
}

type nodeJSON struct {
	ID        string `json:"id" about:"of the node"`
	Raft      string `json:"raft" about:"address for replication"`
	API       string `json:"api" about:"address for clients"`
	PID       int    `json:"pid,omitempty" about:"of its process"`
	Role      string `json:"role" about:"leader, follower, candidate, unknown"`
	Voter     bool   `json:"voter" about:"whether it counts for a majority"`
	Applied   uint64 `json:"applied" about:"last log entry in its state"`
	Hash      string `json:"hash" about:"of its state at that entry; equal on all nodes at the same entry"`
	Reachable bool   `json:"reachable" about:"whether it answered"`
	Version   string `json:"version,omitempty" about:"of its binary"`
	Refused   uint64 `json:"refused" about:"reports of superseded attempts it saw refused since it started"`
	// Withdrawn are attempts of workers that came back after they had been given up.
	Withdrawn uint64 `json:"withdrawn" about:"attempts that workers came back with and that were not theirs any more"`
	// Goroutines tells whether any are left behind.
	Goroutines int               `json:"goroutines" about:"of its process"`
	Labels     map[string]string `json:"labels,omitempty" about:"of its worker"`
}

type workerJSON struct {
	ID       string `json:"id" about:"of the worker"`
	Node     string `json:"node" about:"it belongs to; empty for a worker of your own"`
	Slots    int    `json:"slots" about:"attempts it runs at a time"`
	Busy     int    `json:"busy" about:"slots in use"`
	Assigned int    `json:"assigned" about:"attempts it has, running or next"`
	State    string `json:"state" about:"ready, draining, away"`
	// Isolation of its child processes: "full", or what is missing.
	Isolation string            `json:"isolation,omitempty" about:"of its child processes: full, or what is missing"`
	Labels    map[string]string `json:"labels,omitempty" about:"it has"`
	Handlers  []string          `json:"handlers,omitempty" about:"compiled handlers it serves; if any, it runs no cells"`
}

type countsJSON struct {
	Queued    uint64 `json:"queued" about:"not running yet"`
	Running   uint64 `json:"running" about:"now"`
	Succeeded uint64 `json:"succeeded" about:"ever"`
	Failed    uint64 `json:"failed" about:"ever"`
	Cancelled uint64 `json:"cancelled" about:"ever"`
}

func jsonStatus(s *tasks.Status) statusJSON {
	out := statusJSON{Leader: s.Leader, Term: s.Term, Nodes: []nodeJSON{}, Workers: []workerJSON{}, Tasks: countsJSON(s.Tasks), Queues: []queueJSON{}}
	labels := labelsOfNodes(s)
	for _, n := range s.Nodes {
		out.Nodes = append(out.Nodes, nodeJSON{n.ID, n.Raft, n.API, n.PID, n.Role, n.Voter, n.Applied, n.Hash, n.Reachable, n.Version, n.Refused, n.Withdrawn, n.Goroutines, labels[n.ID]})
	}
	for _, w := range s.Workers {
		out.Workers = append(out.Workers, jsonWorker(w))
	}
	for _, q := range s.Queues {
		out.Queues = append(out.Queues, jsonQueue(q))
	}
	return out
}

func jsonWorker(w tasks.WorkerStatus) workerJSON {
	return workerJSON{w.ID, w.Node, w.Slots, w.Busy, w.Assigned, w.State, w.Isolation, some(w.Labels), w.Handlers}
}

type jobJSON struct {
	ID         string `json:"id" about:"of the job"`
	State      string `json:"state" about:"open (its tasks are still being submitted), running, succeeded, failed, cancelled"`
	Total      uint64 `json:"total" about:"tasks submitted to it; a task has many inputs"`
	Spawned    uint64 `json:"spawned,omitempty" about:"of them, by tasks and not by its client"`
	Succeeded  uint64 `json:"succeeded" about:"tasks that succeeded"`
	Failed     uint64 `json:"failed" about:"tasks that failed or were cancelled"`
	Folds      uint64 `json:"folds,omitempty" about:"tasks that feed results to the fold"`
	Folded     uint64 `json:"folded,omitempty" about:"of them, those that succeeded"`
	FoldFailed uint64 `json:"fold_failed,omitempty" about:"of them, those that failed"`
	LastFold   string `json:"last_fold,omitempty" about:"task of the newest fold that succeeded; its value is the fold's answer"`
	FirstError string `json:"first_error,omitempty" about:"the first task that did not succeed"`
	Inputs     uint64 `json:"inputs,omitempty" about:"of its tasks"`
	Done       uint64 `json:"done,omitempty" about:"of them, those with a result"`
	Retries    uint64 `json:"retries,omitempty" about:"how often it was retried"`
	Created    string `json:"created" about:"time it was opened"`
	Finished   string `json:"finished,omitempty" about:"time its last task ended"`
}

type failureJSON struct {
	Task     string          `json:"task" about:"that had the input"`
	Position uint64          `json:"position" about:"of the input in its map, from 0"`
	Input    json.RawMessage `json:"input,omitempty" about:"the input"`
	Fold     bool            `json:"fold,omitempty" about:"it is a task that feeds results to the fold, and has no input"`
	Error    *errorJSON      `json:"error" about:"why it failed or was cancelled"`
}

func jsonFailure(f *tasks.InputError) failureJSON {
	e := f.Err
	if e == nil {
		e = &tasks.TaskError{}
	}
	return failureJSON{f.Task, f.Position, f.Input, f.Fold, &errorJSON{e.Kind, e.Message, e.Stack}}
}

func jsonJob(j *tasks.Job) jobJSON {
	return jobJSON{j.ID, j.State, j.Total, j.Spawned, j.Succeeded, j.Failed, j.Folds, j.Folded, j.FoldFailed, j.LastFold, j.FirstError,
		j.Inputs, j.Done, j.Retries, jsonTime(j.Created), jsonTime(j.Finished)}
}

type idJSON struct {
	ID        string `json:"id" about:"of the task"`
	Duplicate bool   `json:"duplicate,omitempty" about:"nothing was submitted: this task has the unique key"`
}

type queueJSON struct {
	Name           string         `json:"name" about:"of the queue"`
	Paused         bool           `json:"paused" about:"whether nothing of it begins"`
	Waiting        int            `json:"waiting" about:"tasks that wait for a worker, for their turn in a namespace or for a limit"`
	Running        int            `json:"running" about:"attempts, running or given to a worker"`
	Delayed        int            `json:"delayed" about:"tasks that wait for their time, or for other tasks"`
	Parked         *int           `json:"parked,omitempty" about:"tasks that failed and are kept; left out where a farm is older than this number"`
	Limited        int            `json:"limited" about:"of those waiting, that would be next but for a limit or a pause"`
	Concurrency    int            `json:"concurrency" about:"attempts that may run at a time; 0: no limit"`
	Rate           string         `json:"rate" about:"at which attempts may begin, such as 10/s; none: no limit"`
	Burst          int            `json:"burst,omitempty" about:"how many may begin at once after a pause"`
	KeyConcurrency int            `json:"key_concurrency" about:"the same for each key"`
	KeyRate        string         `json:"key_rate" about:"the same for each key"`
	KeyBurst       int            `json:"key_burst,omitempty" about:"the same for each key"`
	Keys           int            `json:"keys" about:"keys that are known"`
	Busiest        []queueKeyJSON `json:"busiest,omitempty" about:"keys with most running and waiting; queue show and what changes a queue"`
}

type queueKeyJSON struct {
	Key     string `json:"key" about:"the key"`
	Running int    `json:"running" about:"attempts"`
	Waiting int    `json:"waiting" about:"tasks that would be next, but for a worker or a limit"`
}

func jsonQueue(q *tasks.Queue) queueJSON {
	out := queueJSON{q.Name, q.Paused, q.Waiting, q.Running, q.Delayed, nil, q.Limited, q.Concurrency, q.Rate.String(), q.Rate.Burst,
		q.KeyConcurrency, q.KeyRate.String(), q.KeyRate.Burst, q.Keys, nil}
	if q.Parked >= 0 {
		out.Parked = new(q.Parked)
	}
	for _, k := range q.Busiest {
		out.Busiest = append(out.Busiest, queueKeyJSON(k))
	}
	return out
}

type scatterJSON struct {
	Key        string   `json:"key" about:"the variable that was set"`
	Elements   int      `json:"elements" about:"of the sequence"`
	Namespaces []string `json:"namespaces" about:"in the order of their runs"`
}

type gatherJSON struct {
	Key        string            `json:"key" about:"the variable that was read"`
	Elements   int               `json:"elements" about:"of the sequence"`
	Namespaces []string          `json:"namespaces" about:"in the order of their runs"`
	Values     []json.RawMessage `json:"values" about:"the sequence"`
}

// schema is what verbs print with --json: objects of one type. No type: nothing.
type schema struct {
	verbs []string
	what  string
	of    any
}

// schemas has every verb that has --json.
var schemas = []schema{
	{[]string{"submit", "exec", "task ls", "task show", "task wait", "task cancel", "task retry", "cron run-now", "logs"}, "A task, one line each. `submit --detach` and, of many tasks at once, `task retry` and `task cancel` print only ids.", taskJSON{}},
	{[]string{"task drop"}, "Of many at once the id of each task that was dropped, otherwise nothing.", idJSON{}},
	{[]string{"map"}, "With `--fold`, the last fold's task, as above. With `--detach`, the job. Otherwise its results, which are JSON without it; with `-o` each goes through the template.", nil},
	{[]string{"job ls", "job show", "job wait", "job retry", "job cancel"}, "A job, one line each.", jobJSON{}},
	{[]string{"job failures"}, "An input without a result, one line each.", failureJSON{}},
	{[]string{"cron add", "cron ls", "cron show", "cron pause", "cron resume"}, "A schedule, one line each.", scheduleJSON{}},
	{[]string{"get"}, "A variable, one line for each namespace.", variableJSON{}},
	{[]string{"scatter"}, "What was done.", scatterJSON{}},
	{[]string{"gather"}, "The sequence, and where it comes from.", gatherJSON{}},
	{[]string{"ns ls", "ns show"}, "A namespace, one line each.", namespaceJSON{}},
	{[]string{"ns history"}, "A version, one line each.", versionJSON{}},
	{[]string{"ns export"}, "What was written.", exportJSON{}},
	{[]string{"queue ls", "queue show", "queue pause", "queue resume", "queue set"}, "A queue, one line each.", queueJSON{}},
	{[]string{"status"}, "The cluster, one object.", statusJSON{}},
	{[]string{"node ls"}, "A node, one line each, as in `nodes` of the [status](#farm-status).", nodeJSON{}},
	{[]string{"node drain"}, "A worker, one line each, as in `workers` of the [status](#farm-status).", workerJSON{}},
	{[]string{"bench"}, "What was measured, one object; `go doc farm/internal/bench Report` tells more.", bench.Report{}},
	{[]string{"chaos"}, "A scenario's report, one line each; `go doc farm/chaos Report` tells more. Times are nanoseconds.", chaos.Report{}},
	{[]string{"verify"}, "What a sound folder holds.", verifyJSON{}},
	{[]string{"set", "del", "ns rm", "ns restore", "ns fork", "ns import", "node remove", "cron rm"}, "Nothing: they end with exit code 0 when it is done.", nil},
}
