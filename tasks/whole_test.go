package tasks

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"farm/api"
)

// TestWholeNamespaces: what is asked of a namespace as a whole reaches the node
// as it was meant, and a task that the scheduler refused is the error of its
// kind.
func TestWholeNamespaces(t *testing.T) {
	end := func(id, kind string) *api.Reply {
		task := &api.Task{Id: id, State: "succeeded"}
		if kind != "" {
			task.State, task.Error = "failed", &api.TaskError{Kind: kind, Message: "because"}
		}
		return &api.Reply{Result: &api.Reply_Task{Task: task}}
	}
	n := startFake(t, func(n *fakeNode, st *fakeStream, c *api.Call) *api.Reply {
		switch op := c.Op.(type) {
		case *api.Call_GetHistory:
			return &api.Reply{Result: &api.Reply_History{History: &api.History{Versions: []*api.Version{{Number: 2, Made: 1e9, Task: "t", Changed: 3, Restorable: true}, {Number: 1}}}}}
		case *api.Call_Restore:
			return end(op.Restore.Id, map[uint64]string{1: "", 2: "not-found", 3: "limit", 4: "invalid"}[op.Restore.Version])
		case *api.Call_Fork:
			if op.Fork.From != "x" || op.Fork.Namespace != "copy" {
				return end(op.Fork.Id, "conflict")
			}
			return end(op.Fork.Id, "")
		case *api.Call_Import:
			if op.Import.Namespace != "new" || len(op.Import.Items) != 2 || op.Import.Items[0].Key != "v/a" || string(op.Import.Items[1].Value) != "2" {
				return end(op.Import.Id, "invalid")
			}
			return end(op.Import.Id, "")
		case *api.Call_GetNamespace:
			return &api.Reply{Result: &api.Reply_Namespace{Namespace: &api.Namespace{Version: 9, Stored: []*api.Item{{Key: "v/b", Value: []byte("2")}, {Key: "v/a"}}}}}
		}
		return usual(n, st, c)
	})
	c := dialFake(t, Options{}, n)
	ctx := testContext(t)
	ns := c.Namespace("x")

	h, err := ns.History(ctx)
	if err != nil || len(h) != 2 || h[0].Number != 2 || h[0].Made.Unix() != 1 || h[0].Task != "t" || h[0].Changed != 3 || !h[0].Restorable || h[1].Restorable {
		t.Errorf("history: %+v, %v", h, err)
	}
	for version, want := range map[uint64]error{1: nil, 2: ErrNotFound, 3: ErrLimit, 4: ErrInvalid} {
		if err := ns.Restore(ctx, version); !errors.Is(err, want) {
			t.Errorf("restore of %d: %v, want %v", version, err, want)
		}
	}
	if err := ns.Fork(ctx, "copy"); err != nil {
		t.Errorf("fork: %v", err)
	}
	if err := ns.Fork(ctx, "taken"); !errors.Is(err, ErrConflict) || errors.Is(err, ErrLimit) {
		t.Errorf("fork to what exists: %v", err)
	}
	held, err := ns.Export(ctx)
	if err != nil || held.Version != 9 || !slices.Equal(slices.Sorted(maps.Keys(held.Items)), []string{"v/a", "v/b"}) {
		t.Fatalf("export: %+v, %v", held, err)
	}
	if err := c.Namespace("new").Import(ctx, held.Items); err != nil {
		t.Errorf("import: %v", err)
	}
	if err := c.Namespace("").Fork(ctx, "copy"); !errors.Is(err, ErrInvalid) {
		t.Errorf("fork of a namespace without a name: %v", err)
	}
	if err := ns.Fork(ctx, ""); !errors.Is(err, ErrInvalid) {
		t.Errorf("fork to a namespace without a name: %v", err)
	}
}
