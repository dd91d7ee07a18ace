package main

import (
	"encoding/json"
	"time"

	"farm/tasks"
)

// printJSON writes an object as one line.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.io.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// The field names below are part of what scripts rely on.

type taskJSON struct {
	ID        string            `json:"id"`
	Namespace string            `json:"namespace,omitempty"`
	Job       string            `json:"job,omitempty"`
	State     tasks.State       `json:"state"`
	Attempt   int               `json:"attempt,omitempty"`
	Worker    string            `json:"worker,omitempty"`
	Value     json.RawMessage   `json:"value,omitempty"`
	Type      string            `json:"type,omitempty"`
	Results   []json.RawMessage `json:"results,omitempty"`
	Stdout    *string           `json:"stdout,omitempty"`
	Stderr    *string           `json:"stderr,omitempty"`
	Error     *errorJSON        `json:"error,omitempty"`
	Causes    []string          `json:"causes,omitempty"`
	Submitted string            `json:"submitted,omitempty"`
	Started   string            `json:"started,omitempty"`
	Finished  string            `json:"finished,omitempty"`
}

type errorJSON struct {
	Kind    string   `json:"kind"`
	Message string   `json:"message"`
	Stack   []string `json:"stack,omitempty"`
}

func jsonTask(i *tasks.Info) taskJSON {
	t := taskJSON{ID: i.ID, Namespace: i.Namespace, Job: i.Job, State: i.State, Attempt: i.Attempt, Worker: i.Worker, Value: i.Value, Type: i.Type,
		Results: i.Results, Causes: i.Causes, Submitted: jsonTime(i.Submitted), Started: jsonTime(i.Started), Finished: jsonTime(i.Finished)}
	if i.State.Final() { // only then it is known
		t.Stdout, t.Stderr = &i.Stdout, &i.Stderr
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
	Namespace string          `json:"namespace"`
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value"`
	Type      string          `json:"type"`
	Version   uint64          `json:"version"`
}

type namespaceJSON struct {
	Name         string            `json:"name"`
	Version      uint64            `json:"version"`
	Epoch        uint64            `json:"epoch"`
	Worker       string            `json:"worker,omitempty"`
	Items        int               `json:"items"`
	Bytes        int64             `json:"bytes"`
	Queue        int               `json:"queue"`
	Created      string            `json:"created,omitempty"`
	Changed      string            `json:"changed,omitempty"`
	Variables    []varInfoJSON     `json:"variables,omitempty"`
	Declarations []declarationJSON `json:"declarations,omitempty"`
}

type versionJSON struct {
	Version    uint64 `json:"version"`
	Made       string `json:"made"`
	Task       string `json:"task"`
	Changed    int    `json:"changed"`
	Restorable bool   `json:"restorable"`
}

type exportJSON struct {
	Namespace string `json:"namespace"`
	Version   uint64 `json:"version"`
	Items     int    `json:"items"`
	Bytes     int    `json:"bytes"`
	File      string `json:"file"`
}

type varInfoJSON struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Bytes   int64  `json:"bytes"`
	Version uint64 `json:"version"`
}

type declarationJSON struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Source string `json:"source"`
}

func jsonNamespace(n *tasks.NamespaceInfo) namespaceJSON {
	out := namespaceJSON{Name: n.Name, Version: n.Version, Epoch: n.Epoch, Worker: n.Worker, Items: n.Items, Bytes: n.Bytes, Queue: n.Queue,
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
	Leader  string       `json:"leader"`
	Term    uint64       `json:"term"`
	Nodes   []nodeJSON   `json:"nodes"`
	Workers []workerJSON `json:"workers"`
	Tasks   countsJSON   `json:"tasks"`
}

type nodeJSON struct {
	ID        string `json:"id"`
	Raft      string `json:"raft"`
	API       string `json:"api"`
	PID       int    `json:"pid,omitempty"`
	Role      string `json:"role"`
	Voter     bool   `json:"voter"`
	Applied   uint64 `json:"applied"`
	Hash      string `json:"hash"`
	Reachable bool   `json:"reachable"`
	Version   string `json:"version,omitempty"`
	// Refused are the reports of superseded attempts seen since the node started.
	Refused    uint64 `json:"refused"`
	Withdrawn  uint64 `json:"withdrawn"`
	Goroutines int    `json:"goroutines"`
}

type workerJSON struct {
	ID    string `json:"id"`
	Node  string `json:"node"`
	Slots int    `json:"slots"`
	Busy  int    `json:"busy"`
	State string `json:"state"`
	// Isolation of its child processes: "full", or what is missing.
	Isolation string `json:"isolation,omitempty"`
}

type countsJSON struct {
	Queued    uint64 `json:"queued"`
	Running   uint64 `json:"running"`
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
	Cancelled uint64 `json:"cancelled"`
}

func jsonStatus(s *tasks.Status) statusJSON {
	out := statusJSON{Leader: s.Leader, Term: s.Term, Nodes: []nodeJSON{}, Workers: []workerJSON{}, Tasks: countsJSON(s.Tasks)}
	for _, n := range s.Nodes {
		out.Nodes = append(out.Nodes, nodeJSON{n.ID, n.Raft, n.API, n.PID, n.Role, n.Voter, n.Applied, n.Hash, n.Reachable, n.Version, n.Refused, n.Withdrawn, n.Goroutines})
	}
	for _, w := range s.Workers {
		out.Workers = append(out.Workers, workerJSON{w.ID, w.Node, w.Slots, w.Busy, w.State, w.Isolation})
	}
	return out
}
