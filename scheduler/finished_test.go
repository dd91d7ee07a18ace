package scheduler

import (
	"fmt"
	"slices"
	"testing"
)

// finishedIDs is the list of the finished as people page through it, some at a time.
func finishedIDs(t *testing.T, s *State, look int) (ids []string) {
	t.Helper()
	for from := ""; ; {
		next, err := s.FinishedFrom(from, look, func(x *Task) bool { ids = append(ids, x.ID); return true })
		if err != nil {
			t.Fatal(err)
		}
		if next == "" {
			return ids
		}
		from = next
	}
}

// TestPagesAreTheList proves that a farm whose list of the finished is in pages, from
// its beginning or from the middle of its life, lists, keeps and drops what one with a
// record for each entry does, and does so after it was loaded anew.
func TestPagesAreTheList(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			plain, early, late := mustLoad(plainRecords{}), mustLoad(plainRecords{}), mustLoad(plainRecords{})
			plain.Step(&Found{Cluster: "c", Form: FormCounting})
			early.Step(&Found{Cluster: "c", Form: FormPaged})
			g := newTraffic(seed, plain)
			dropped := false
			for i := range 4000 {
				c := g.command()
				if _, found := c.(*Found); found {
					continue
				}
				if i == 700 {
					late.Step(&Found{Cluster: "c", Form: FormPaged})
				}
				now := g.advance()
				var results []Result
				for _, s := range []*State{plain, early, late} {
					s.Advance(now)
					results = append(results, s.Step(c))
					s.Effects()
				}
				if results[0] != results[1] || results[0] != results[2] {
					t.Fatalf("%T: %v", c, results)
				}
				dropped = dropped || plain.FinLo > pageEntries
				if i%97 > 0 {
					continue
				}
				want := finishedIDs(t, plain, 1+i%7)
				for name, s := range map[string]**State{"early": &early, "late": &late} {
					if i%3 == 0 {
						*s = mustLoad((*s).settled())
					}
					if got := finishedIDs(t, *s, 1+i%5); !slices.Equal(got, want) {
						t.Fatalf("%s, after %d commands: %q, want %q", name, i, got, want)
					}
					if err := checkRetained(*s); err != nil {
						t.Fatalf("%s, after %d commands: %v", name, i, err)
					}
				}
			}
			if !dropped {
				t.Errorf("no page was dropped: the list is from %d to %d", plain.FinLo, plain.FinHi)
			}
		})
	}
}
