package replica

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"farm/api"
	"farm/internal/carry"
	"farm/internal/part"
	"farm/scheduler"
)

// makeBig is a cell that makes a value of n numbers without a pattern.
func makeBig(name string, n int) string {
	return fmt.Sprintf(`%s := make([]float64, %d)
seed := uint64(7)
for i := range %[1]s {
	seed = seed*2862933555777941757 + 3037000493
	%[1]s[i] = float64(seed>>11) / (1 << 53)
}
len(%[1]s)`, name, n)
}

func partsClient(t testing.TB, addr string) api.PartsClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxMessage), grpc.MaxCallSendMsgSize(api.MaxMessage)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return api.NewPartsClient(conn)
}

// TestLargeValue: a value far over the limit of an entry is committed in parts,
// read, changed in a place at the cost of a few of them, forked, taken back,
// and loaded again after a restart.
func TestLargeValue(t *testing.T) {
	dir := t.TempDir()
	n := startNode(t, dir)
	c := dial(t, n.API())
	const numbers = 1_000_000
	succeeded(t, "making it", c.cell("e1", "a", makeBig("x", numbers)))
	var size, parts int
	look := func(ns string) (at part.Manifest) {
		t.Helper()
		n.fsm.View(func(s *scheduler.State) {
			it, _, _ := s.Stored(ns, "v/x")
			if it.Parts == nil {
				t.Fatalf("%s.x is not in parts", ns)
			}
			at = *it.Parts
			size, parts = int(at.Size), len(at.Parts)
		})
		return at
	}
	before := look("a")
	if size < 8*numbers || parts < size/part.MaxBytes {
		t.Errorf("%d bytes in %d parts", size, parts)
	}
	if task := c.cell("e2", "a", "x[numbers/2] = 1.5\nx[numbers/2]"); task.GetError().GetKind() != "compile" {
		t.Errorf("not what was meant: %v", task)
	}
	succeeded(t, "one number", c.cell("e3", "a", fmt.Sprintf("x[%d] = 1.5", numbers/2)))
	after := look("a")
	same := map[part.Hash]bool{}
	for _, h := range before.Parts {
		same[h] = true
	}
	fresh := 0
	for _, h := range after.Parts {
		if !same[h] {
			fresh++
		}
	}
	if fresh == 0 || fresh > 2 {
		t.Errorf("%d of %d parts are new after a change of one number", fresh, len(after.Parts))
	}
	succeeded(t, "fork", c.fork("f1", "a", "b"))
	succeeded(t, "restore", c.restore("r1", "a", before0(c, "a")))
	if v := c.call(&api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: "a"}}}).GetNamespace(); len(v.GetVariables()) == 0 || int(v.Variables[len(v.Variables)-1].Bytes) < 8*numbers {
		t.Errorf("described as %v", v.GetVariables())
	}
	if got := c.get("a", "x"); !strings.HasPrefix(got, "[0.") {
		t.Errorf("read as %.40s", got)
	}
	stopNode(t, n)
	n = startNode(t, dir)
	c = dial(t, n.API())
	for ns, want := range map[string]string{"a": "false", "b": "true"} {
		if task := c.cell("g"+ns, ns, fmt.Sprintf("x[%d] == 1.5 && len(x) == %d", numbers/2, numbers)); string(task.Value) != want {
			t.Errorf("%s after a restart: %v", ns, task)
		}
	}
	for _, ns := range []string{"a", "b"} {
		if r := c.call(&api.Call{Op: &api.Call_Drop{Drop: &api.DropNamespace{Id: "d" + ns, Namespace: ns}}}); r.Error != nil {
			t.Fatal(r.Error)
		}
	}
	n.fsm.View(func(s *scheduler.State) {
		for _, h := range append(after.Parts, before.Parts...) {
			if s.Part(h) != nil {
				t.Fatalf("part %x is left of what was removed", h[:4])
			}
		}
	})
}

// before0 is the first version of a namespace that is kept.
func before0(c client, ns string) uint64 {
	h := c.history(ns)
	return h[len(h)-1].Number
}

// TestSetAndImportLarge: large values come from outside in parts, through any
// node, and what they are made of is held against what was sent.
func TestSetAndImportLarge(t *testing.T) {
	n := startNode(t, t.TempDir())
	c := dial(t, n.API())
	pc := partsClient(t, n.API())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	text := []byte(`"` + strings.Repeat("0123456789", 500_000) + `"`)
	m, parts := part.Cut(text)
	set := func(id string) *api.Reply {
		return c.call(&api.Call{Op: &api.Call_Set{Set: &api.SetKey{Id: id, Namespace: "a", Key: "s", Parts: carry.Manifest(&m)}}})
	}
	if r := set("s0"); r.Error.GetCode() != api.Code_INVALID || !strings.Contains(r.Error.Message, "was not sent") {
		t.Errorf("a set of what was not sent: %v", r)
	}
	if err := carry.Put(ctx, pc, "", parts); err != nil {
		t.Fatal(err)
	}
	r := set("s1")
	if r.Error != nil {
		t.Fatal(r.Error)
	}
	succeeded(t, "set", r.GetTask())
	if task := c.cell("e1", "a", "len(s)"); string(task.Value) != "5000000" {
		t.Errorf("%v", task)
	}
	huge := m
	huge.Size = MaxSetBytes + 1
	if r := c.call(&api.Call{Op: &api.Call_Set{Set: &api.SetKey{Id: "s2", Namespace: "a", Key: "s", Parts: carry.Manifest(&huge)}}}); r.Error.GetCode() != api.Code_LIMIT {
		t.Errorf("a set over the limit: %v", r)
	}
	// What was exported in parts is imported from the same parts.
	r = c.call(&api.Call{Op: &api.Call_GetNamespace{GetNamespace: &api.GetNamespace{Name: "a", Items: true}}})
	stored := r.GetNamespace().GetStored()
	i := 0
	for stored[i].Key != "v/s" {
		i++
	}
	if stored[i].Parts == nil || len(stored[i].Value) > 100 {
		t.Fatalf("exported as %d bytes, parts %v", len(stored[i].Value), stored[i].Parts != nil)
	}
	im := c.call(&api.Call{Op: &api.Call_Import{Import: &api.ImportNamespace{Id: "i1", Namespace: "b", Items: stored}}})
	if im.Error != nil {
		t.Fatal(im.Error)
	}
	succeeded(t, "import", im.GetTask())
	if task := c.cell("e2", "b", "s[:12]"); string(task.Value) != `"012345678901"` {
		t.Errorf("%v", task)
	}
	got, err := readManifest(ctx, pc, stored[i].Parts)
	if err != nil || !bytes.Contains(got, text[1:100]) {
		t.Errorf("fetched %d bytes, %v", len(got), err)
	}
	gone := carry.Manifest(&part.Manifest{Size: 3, Parts: []part.Hash{part.HashOf([]byte("no!"))}})
	bad := c.call(&api.Call{Op: &api.Call_Import{Import: &api.ImportNamespace{Id: "i2", Namespace: "c", Items: []*api.Item{{Key: "v/x", Parts: gone}}}}})
	if bad.Error.GetCode() != api.Code_INVALID {
		t.Errorf("an import of what was not sent: %v", bad)
	}
}

func readManifest(ctx context.Context, pc api.PartsClient, m *api.Manifest) ([]byte, error) {
	x, err := carry.ReadManifest(m)
	if err != nil {
		return nil, err
	}
	return carry.Fetch(ctx, pc, *x, scheduler.MaxValueBytes)
}

// TestPartsCalls: what the calls of parts refuse.
func TestPartsCalls(t *testing.T) {
	n := startNode(t, t.TempDir())
	pc := partsClient(t, n.API())
	ctx := testContext(t)
	if r, err := pc.Offer(ctx, &api.OfferParts{Hashes: []byte("short")}); err != nil || r.Error.GetCode() != api.Code_INVALID {
		t.Errorf("%v %v", r, err)
	}
	if r, err := pc.Offer(ctx, &api.OfferParts{Hashes: make([]byte, (carry.MaxHashes+1)*part.HashBytes)}); err != nil || r.Error.GetCode() != api.Code_LIMIT {
		t.Errorf("%v %v", r, err)
	}
	if r, err := pc.Put(ctx, &api.PutParts{Parts: [][]byte{make([]byte, part.MaxBytes+1)}}); err != nil || r.Error.GetCode() != api.Code_LIMIT {
		t.Errorf("%v %v", r, err)
	}
	if r, err := pc.Put(ctx, &api.PutParts{Parts: [][]byte{{}}}); err != nil || r.Error.GetCode() != api.Code_INVALID {
		t.Errorf("%v %v", r, err)
	}
	if r, err := pc.Put(ctx, &api.PutParts{Parts: make([][]byte, carry.MaxParts+1)}); err != nil || r.Error.GetCode() != api.Code_LIMIT {
		t.Errorf("%v %v", r, err)
	}
	b := []byte("a part")
	for range 2 { // it can be repeated
		if r, err := pc.Put(ctx, &api.PutParts{Parts: [][]byte{b}}); err != nil || r.Error != nil {
			t.Errorf("%v %v", r, err)
		}
	}
	h := part.HashOf(b)
	if r, err := pc.Get(ctx, &api.GetParts{Hashes: part.Hashes([]part.Hash{h, {}})}); err != nil || len(r.Parts) != 2 || string(r.Parts[0]) != "a part" || len(r.Parts[1]) != 0 {
		t.Errorf("%v %v", r, err)
	}
}
