package replica

import (
	"bytes"
	"fmt"
	"maps"
	"testing"

	"farm/api"
	"farm/scheduler"
)

func (c client) items(ns string) map[string][]byte {
	c.t.Helper()
	r := c.call(&api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: ns, Items: true}}})
	if r.Error != nil {
		c.t.Fatal(r.Error)
	}
	items := map[string][]byte{}
	for _, it := range r.GetNamespace().Stored {
		items[it.Key] = it.Value
	}
	return items
}

func (c client) history(ns string) []*api.Version {
	c.t.Helper()
	return c.call(&api.Call{Op: &api.Call_GetHistory{GetHistory: &api.GetHistory{Namespace: ns}}}).GetHistory().GetVersions()
}

func (c client) restore(id, ns string, version uint64) *api.Task {
	c.t.Helper()
	return c.call(&api.Call{Op: &api.Call_Restore{Restore: &api.RestoreNamespace{Id: id, Namespace: ns, Version: version}}}).GetTask()
}

func (c client) fork(id, from, to string) *api.Task {
	c.t.Helper()
	return c.call(&api.Call{Op: &api.Call_Fork{Fork: &api.ForkNamespace{Id: id, Namespace: to, From: from}}}).GetTask()
}

func (c client) bring(id, ns string, items map[string][]byte) *api.Reply {
	c.t.Helper()
	q := &api.ImportNamespace{Id: id, Namespace: ns}
	for k, v := range items {
		q.Items = append(q.Items, &api.Item{Key: k, Value: v})
	}
	return c.call(&api.Call{Op: &api.Call_Import{Import: q}})
}

func succeeded(t *testing.T, what string, task *api.Task) {
	t.Helper()
	if task.GetState() != "succeeded" {
		t.Fatalf("%s: %v", what, task)
	}
}

// kind is why a task failed.
func kind(task *api.Task) string { return task.GetState() + " " + task.GetError().GetKind() }

// TestVersions: what cells did to a namespace is taken back, variables and
// functions alike, also where a worker has the newer state at hand and after a
// restart of the node.
func TestVersions(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	c := dial(t, n.API())
	shared := "p := &n\nvar list []int\nlist = append(list, n)\nmore := list[:1]"
	for i, source := range []string{"n := 1\nfunc f() int { return n }", shared, "n = 2\nextra := 1", "func f() int { return 10 * n }\nn = 3"} {
		succeeded(t, source, c.cell(fmt.Sprint("e", i), "c0", source))
	}
	before := c.items("c0")
	h := c.history("c0")
	if len(h) != 4 || h[0].Number != 4 || h[0].Task != "e3" || !h[3].Restorable || h[3].Made == 0 {
		t.Fatalf("history: %v", h)
	}
	succeeded(t, "restore", c.restore("r1", "c0", 2))
	succeeded(t, "a repeated restore", c.restore("r1", "c0", 2))
	if task := c.cell("e10", "c0", "*p += 4\nf() + more[0]"); string(task.Value) != "6" {
		t.Errorf("after the restore: %v", task)
	}
	if task := c.cell("e12", "c0", "extra"); task.GetError().GetKind() != "compile" {
		t.Errorf("what came later is still there: %v", task)
	}
	if h := c.history("c0"); len(h) != 6 || h[1].Task != "r1" {
		t.Errorf("history: %v", h)
	}
	stopNode(t, n)

	n = startNode(t, dir)
	c = dial(t, n.API())
	succeeded(t, "restore of what was taken back", c.restore("r2", "c0", 4))
	if after := c.items("c0"); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Errorf("version 4 is not what it was: %q, now %q", before, after)
	}
	if task := c.cell("e11", "c0", "*p + f() + extra"); string(task.Value) != "34" {
		t.Errorf("after another restore: %v", task)
	}
	for i := range scheduler.HistoryVersions {
		succeeded(t, "a change", c.cell(fmt.Sprint("x", i), "c0", "n++"))
	}
	if got := kind(c.restore("r3", "c0", 4)); got != "failed not-found" {
		t.Errorf("restore of a version that is not kept: %s", got)
	}
	if r := c.call(&api.Call{Op: &api.Call_GetHistory{GetHistory: &api.GetHistory{Namespace: "none"}}}); r.GetError().GetCode() != api.Code_NOT_FOUND {
		t.Errorf("history of nothing: %v", r)
	}
}

// TestForkAndImport: a copy holds the same items, lives for itself, and is
// refused where a namespace is.
func TestForkAndImport(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	succeeded(t, "cell", c.cell("e1", "a", "import \"strings\"\ntype T struct { n int; next *T }\nfunc (t *T) up() string { return strings.ToUpper(t.next.name()) }\n"+
		"func (t *T) name() string { return \"t\" }\nx := &T{n: 1}\nx.next = x"))
	items := c.items("a")
	succeeded(t, "fork", c.fork("f1", "a", "b"))
	if r := c.bring("i1", "c", items); r.Error != nil {
		t.Fatal(r.Error)
	} else {
		succeeded(t, "import", r.GetTask())
	}
	for _, ns := range []string{"b", "c"} {
		if got := c.items(ns); !maps.EqualFunc(got, items, bytes.Equal) {
			t.Errorf("%s holds %q, want %q", ns, got, items)
		}
		if task := c.cell("u"+ns, ns, "x.next.n++\nx.up()"); string(task.Value) != `"T"` {
			t.Errorf("%s: %v", ns, task)
		}
	}
	if got := c.items("a"); !maps.EqualFunc(got, items, bytes.Equal) {
		t.Errorf("a changed with its copies: %q", got)
	}
	if got := kind(c.fork("f2", "a", "b")); got != "failed conflict" {
		t.Errorf("fork to what exists: %s", got)
	}
	if got := kind(c.fork("f3", "none", "d")); got != "failed not-found" {
		t.Errorf("fork of nothing: %s", got)
	}
	if got := kind(c.bring("i2", "c", items).GetTask()); got != "failed conflict" {
		t.Errorf("import into what exists: %s", got)
	}
	if r := c.bring("i3", "e", map[string][]byte{"v/x": {9, 9}}); r.GetError().GetCode() != api.Code_INVALID {
		t.Errorf("import: %v", r)
	}
	huge := &api.ImportNamespace{Id: "i5", Namespace: "e", Items: []*api.Item{{Key: "v/x", Parts: &api.Manifest{Size: scheduler.MaxImportBytes, Hashes: make([]byte, 32)}}}}
	if r := c.call(&api.Call{Op: &api.Call_Import{Import: huge}}); r.GetError().GetCode() != api.Code_LIMIT {
		t.Errorf("import of too much: %v", r)
	}
	if r := c.bring("i4", "e", nil); r.GetError().GetCode() != api.Code_INVALID {
		t.Errorf("import of nothing: %v", r)
	}
}

// TestTooLargeToExport: a namespace over the limit of one answer is refused by
// the limit's name, and can still be described.
func TestTooLargeToExport(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	big := `"` + string(bytes.Repeat([]byte("x"), 200_000)) + `"`
	for i := range MaxStoredBytes/200_000 + 1 {
		if r := c.set(fmt.Sprint("s", i), "a", fmt.Sprint("v", i), big); r.Error != nil {
			t.Fatal(r.Error)
		}
	}
	if r := c.call(&api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: "a", Items: true}}}); r.GetError().GetCode() != api.Code_LIMIT {
		t.Errorf("items: %v", r.GetError())
	}
	if r := c.call(&api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: "a"}}}); len(r.GetNamespace().GetVariables()) == 0 {
		t.Errorf("description: %v", r.GetError())
	}
}
