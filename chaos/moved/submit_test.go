package moved

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"farm/internal/cluster"
	"farm/tasks"
)

// tree is a program whose function submits a tree of tasks, each of which counts itself in
// a namespace, by a task for each.
const tree = `import "farm"
func Grow(depth int) {
	farm.Submit(farm.Task{Namespace: "leaves", Source: "n++"})
	if depth == 0 {
		return
	}
	for i := 0; i < 3; i++ {
		farm.Submit(farm.Task{Source: farm.Source(), Call: "Grow", Inputs: []string{farm.Input(depth - 1)}})
	}
}`

// TestTasksSubmitTasks: on a real farm, with and without failures.
func TestTasksSubmitTasks(t *testing.T) {
	c, cl := start(t)
	ctx := limited(t, 3*time.Minute)
	run := func(task tasks.Task) *tasks.Info {
		t.Helper()
		task.Source = "import \"farm\"\n" + task.Source
		i, err := cl.Run(ctx, task)
		if i == nil {
			t.Fatal(err)
		}
		return i
	}
	value := func(ns, key string) (n int) {
		t.Helper()
		if err := cl.Namespace(ns).Get(ctx, key, &n); err != nil {
			t.Fatalf("%s.%s: %v", ns, key, err)
		}
		return n
	}
	for _, ns := range []string{"a", "b"} {
		if err := cl.Namespace(ns).Set(ctx, "money", 100); err != nil {
			t.Fatal(err)
		}
	}

	pay := `money -= 30
farm.Submit(farm.Task{Namespace: "b", Source: "money += 30"})`
	paid := run(tasks.Task{ID: "pay", Namespace: "a", Source: pay})
	child, err := cl.Wait(ctx, "pay/1")
	if err != nil || child.Parent != "pay" || paid.Parent != "" || value("a", "money") != 70 || value("b", "money") != 130 {
		t.Errorf("%+v, %v; %d and %d", child, err, value("a", "money"), value("b", "money"))
	}

	if i := run(tasks.Task{ID: "broke", Namespace: "a", Source: pay + "\npanic(\"no\")", Retries: 2}); i.State != tasks.Failed || i.Attempt != 3 {
		t.Errorf("%+v", i)
	}
	if i := run(tasks.Task{ID: "refused", Namespace: "a", Source: "money = 0\nfarm.Submit(farm.Task{Namespace: \"no/name\", Source: \"1\"})\nmoney"}); i.State != tasks.Failed ||
		!errors.Is(i.Err(), tasks.ErrInvalid) || !strings.Contains(i.Error.Message, "submission 1: ") || i.Value != nil {
		t.Errorf("%+v %v", i, i.Err())
	}
	for _, id := range []string{"broke/1", "refused/1"} {
		if _, err := cl.Get(ctx, id); !errors.Is(err, tasks.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
	// What its worker holds is what is committed, also when a set made the next version meanwhile.
	if err := cl.Namespace("a").Set(ctx, "other", 1); err != nil {
		t.Fatal(err)
	}
	if i := run(tasks.Task{Namespace: "a", Source: "money++\nmoney"}); string(i.Value) != "71" {
		t.Errorf("after a refusal money is %s", i.Value)
	}

	// A name is submitted once, whoever asks for it.
	if err := cl.Namespace("c").Set(ctx, "n", 0); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		run(tasks.Task{Source: `farm.Submit(farm.Task{ID: "once", Namespace: "c", Source: "n++"})`})
	}
	if _, err := cl.Wait(ctx, "once"); err != nil || value("c", "n") != 1 {
		t.Errorf("%d times, %v", value("c", "n"), err)
	}

	// A tree, under which the leader dies.
	if err := cl.Namespace("leaves").Set(ctx, "n", 0); err != nil {
		t.Fatal(err)
	}
	if _, err := cl.Run(ctx, tasks.Task{ID: "root", Source: tree, Call: "Grow", Inputs: []json.RawMessage{[]byte("4")}}); err != nil {
		t.Fatal(err)
	}
	const nodes = 1 + 3 + 9 + 27 + 81
	until(t, "a part of the tree", func() bool { return value("leaves", "n") > 10 })
	s, err := cl.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(c.Nodes(), func(n cluster.Node) bool { return n.ID == s.Leader })
	if err := c.Kill(at); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(ctx, at); err != nil {
		t.Fatal(err)
	}
	until(t, "the end of the tree", func() bool {
		s, err := cl.Status(ctx)
		return err == nil && s.Tasks.Queued+s.Tasks.Running == 0
	})
	if n := value("leaves", "n"); n != nodes {
		t.Errorf("a tree of %d tasks counted %d", nodes, n)
	}
	if err := sameReplicas(ctx, cl, 3); err != nil {
		t.Error(err)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}
