package fsm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestOverlayIsAMap: whatever is in which layer, the overlay reads as one map.
func TestOverlayIsAMap(t *testing.T) {
	dir, n := t.TempDir(), 0
	key := rapid.SampledFrom([]string{"m", "q/a", "q/b", "i/n/a", "i/n/b", "i/n/c/d", "i/n2/a", "i/n", "f/\x00\x01", "f/\x00/\x02/", "t/x/fold", "z"})
	prefix := rapid.SampledFrom([]string{"", "i/", "i/n/", "i/n2/", "i/n", "q/", "f/", "t/x/", "m", "nothing"})
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		defer os.Remove(path)
		st, err := openStore(path, func(err error) { t.Fatal(err) })
		if err != nil {
			t.Fatal(err)
		}
		defer st.close()
		o := &overlay{store: st, current: newGeneration(nil)}
		want := &plainRecords{m: map[string][]byte{}}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, v := key.Draw(t, "key"), rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")
				o.Put(k, v)
				want.Put(k, v)
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				o.Delete(k)
				want.Delete(k)
			},
			"freeze": func(*rapid.T) {
				if o.frozen == nil {
					o.frozen, o.current = o.current, newGeneration(o.current)
				}
			},
			"commit": func(t *rapid.T) {
				if o.frozen == nil {
					return
				}
				if err := st.commit(position{}, o.frozen); err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "forgotten") {
					o.frozen = nil
					st.refresh()
				}
			},
			"get": func(t *rapid.T) {
				k := key.Draw(t, "key")
				got, w := o.Get(k), want.Get(k)
				if (got == nil) != (w == nil) || string(got) != string(w) {
					t.Fatalf("get %q: %q, want %q", k, got, w)
				}
			},
			"": func(t *rapid.T) {
				p, limit := prefix.Draw(t, "prefix"), rapid.IntRange(1, 15).Draw(t, "limit")
				from := rapid.OneOf(rapid.Just(""), key).Draw(t, "from")
				if got, w := listed(o, p, from, limit), listed(want, p, from, limit); !slices.Equal(got, w) {
					t.Fatalf("scan %q from %q: %q, want %q", p, from, got, w)
				}
			},
		})
		var total totals
		for k, v := range want.m {
			total.add(k, v)
		}
		if o.frozen != nil {
			if err := st.commit(position{}, o.frozen); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.commit(position{}, o.current); err != nil {
			t.Fatal(err)
		}
		if got := st.durable.Load().totals; got != total {
			t.Fatalf("totals %+v, want %+v", got, total)
		}
	})
}

func listed(r interface {
	Scan(prefix, from string, fn func(string, []byte) bool)
}, prefix, from string, limit int) (out []string) {
	r.Scan(prefix, from, func(k string, v []byte) bool {
		out = append(out, fmt.Sprintf("%s=%x", k, v))
		return len(out) < limit
	})
	return out
}
