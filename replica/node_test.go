package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"farm/api"
	"farm/internal/part"
	"farm/worker"
)

func TestMain(m *testing.M) {
	worker.Child()
	os.Exit(m.Run())
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// startNode starts a cluster of one.
func startNode(t testing.TB, dir string) *Node {
	t.Helper()
	n, err := Start(testContext(t), Config{Data: dir, Logger: testLogger(t), Slots: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopNode(t, n) })
	return n
}

func stopNode(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Errorf("stop %s: %v", n.ID(), err)
	}
}

type client struct {
	t testing.TB
	api.FarmClient
}

func dial(t testing.TB, addr string) client {
	t.Helper()
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return client{t, api.NewFarmClient(c)}
}

func (c client) call(x *api.Call) *api.Reply {
	c.t.Helper()
	r, err := c.One(testContext(c.t), x)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c client) cell(id, ns, source string) *api.Task {
	c.t.Helper()
	r := c.call(&api.Call{Op: &api.Call_Submit{Submit: &api.Submit{Id: id, Namespace: ns, Work: &api.Work{Source: source}, Wait: true}}})
	if r.Error != nil {
		c.t.Fatalf("submit %s: %v", id, r.Error)
	}
	return r.GetTask()
}

func (c client) set(id, ns, key, json string) *api.Reply {
	c.t.Helper()
	return c.call(&api.Call{Op: &api.Call_Set{Set: &api.SetKey{Id: id, Namespace: ns, Key: key, Json: []byte(json)}}})
}

func (c client) get(ns, key string) string {
	c.t.Helper()
	r := c.call(&api.Call{Op: &api.Call_Get{Get: &api.GetKey{Namespace: ns, Key: key}}})
	if r.Error != nil {
		return r.Error.Code.String()
	}
	return string(r.GetVariable().Json)
}

func TestDictionary(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	c := dial(t, n.API())
	if r := c.set("s1", "c0", "a", "10"); r.Error != nil || r.GetTask().State != "succeeded" {
		t.Fatalf("set: %v", r)
	}
	if task := c.cell("e1", "c0", "b := 2*a"); task.State != "succeeded" {
		t.Fatalf("cell: %v", task)
	}
	if got := c.get("c0", "b"); got != "20" {
		t.Fatalf("b is %s, want 20", got)
	}
	stopNode(t, n)

	n = startNode(t, dir)
	c = dial(t, n.API())
	if got := c.get("c0", "b"); got != "20" {
		t.Fatalf("after a restart b is %s, want 20", got)
	}
	if task := c.cell("e2", "c0", "a+b"); string(task.Value) != "30" {
		t.Fatalf("after a restart a+b: %v", task)
	}
	if task := c.cell("e1", "c0", "b := 2*a"); task.Id != "e1" || task.State != "succeeded" {
		t.Fatalf("a repeated submit: %v", task)
	}
}

func TestRepeatedSetIsOneChange(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	for range 3 {
		if r := c.set("s1", "c0", "a", "1"); r.Error != nil {
			t.Fatal(r.Error)
		}
	}
	r := c.call(&api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: "c0"}}})
	if v := r.GetNamespace().GetVersion(); v != 1 {
		t.Fatalf("version %d after one set repeated three times, want 1", v)
	}
}

func TestConcurrentIncrements(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	c.set("s", "c0", "n", "0")
	const tasks = 200
	got := make(chan *api.Task, tasks)
	for i := range tasks {
		go func() {
			r, err := c.One(testContext(t), &api.Call{Op: &api.Call_Submit{Submit: &api.Submit{Id: fmt.Sprint("t", i), Namespace: "c0", Work: &api.Work{Source: "n++"}, Wait: true}}})
			if err != nil {
				t.Error(err)
			}
			got <- r.GetTask()
		}()
	}
	for range tasks {
		if task := <-got; task.GetState() != "succeeded" {
			t.Fatalf("%v", task)
		}
	}
	if v := c.get("c0", "n"); v != fmt.Sprint(tasks) {
		t.Fatalf("n is %s after %d increments", v, tasks)
	}
}

func TestDataFolderInUse(t *testing.T) {
	dir := t.TempDir()
	startNode(t, dir)
	if _, err := Start(testContext(t), Config{Data: dir}); !errors.Is(err, ErrDataInUse) {
		t.Fatalf("a second node on the folder: %v", err)
	}
}

func TestContradictingID(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	stopNode(t, n)
	if _, err := Start(testContext(t), Config{Data: dir, ID: "other"}); !errors.Is(err, ErrNodeID) {
		t.Fatalf("another id: %v", err)
	}
}

func TestNewerFolder(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	stopNode(t, n)
	if err := writeFile(filepath.Join(dir, "node.json"), identity{Format: identityFormat + 1, ID: n.ID()}); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(testContext(t), Config{Data: dir}); !errors.Is(err, ErrNewerFormat) {
		t.Fatalf("a folder of a newer farm: %v", err)
	}
}

func TestOtherLogStore(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	stopNode(t, n)
	if _, err := Start(testContext(t), Config{Data: dir, LogStore: "boltdb"}); !errors.Is(err, ErrConfig) {
		t.Fatalf("another log store: %v", err)
	}
}

// Requests past a limit are refused by name, and nothing of them is kept.
func TestLimitsAreTold(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	big := strings.Repeat("x", 2<<20)
	for name, x := range map[string]*api.Call{
		"value":  {Op: &api.Call_Set{Set: &api.SetKey{Id: "a", Namespace: "c0", Key: "x", Parts: &api.Manifest{Size: MaxSetBytes + 1, Hashes: make([]byte, part.HashBytes)}}}},
		"source": {Op: &api.Call_Submit{Submit: &api.Submit{Id: "b", Work: &api.Work{Source: big}}}},
		"list":   {Op: &api.Call_ListTasks{ListTasks: &api.ListTasks{Limit: MaxListed + 1}}},
	} {
		if r := c.call(x); r.Error.GetCode() != api.Code_LIMIT {
			t.Errorf("%s: %.300v", name, r)
		}
	}
	if r := c.call(&api.Call{Op: &api.Call_ListNamespaces{ListNamespaces: &api.ListNamespaces{}}}); len(r.GetNamespaces().GetNamespaces()) != 0 {
		t.Errorf("something was kept: %v", r)
	}
}

func TestBadNames(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	for _, ns := range []string{"a/b", "a\nb", ".", "-x", strings.Repeat("n", 129), "ü"} {
		if r := c.set("id", ns, "x", "1"); r.Error.GetCode() != api.Code_INVALID {
			t.Errorf("namespace %q: %v", ns, r)
		}
	}
	for _, key := range []string{"", "a b", "1a", "func", "a.b"} {
		if r := c.set("id", "c0", key, "1"); r.Error.GetCode() != api.Code_INVALID {
			t.Errorf("key %q: %v", key, r)
		}
	}
}
