package sim_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var allMutations = flag.Bool("mutations", false, "test all mutations, not only those marked quick")

// mutation is farm broken on purpose: in a file of the module an old text is
// replaced by a new one. The simulation must find it out, and say by which
// promise.
type mutation struct {
	name   string
	quick  bool // tried in every run of the tests
	edits  []edit
	checks []string // one of these must be what fails first
	begin  string   // what to simulate first: a seed, or a transcript of testdata
}

type edit struct{ file, old, new string }

// mutations is the table in the package doc.
var mutations = []mutation{
	{"a report is accepted whatever its attempt", true, []edit{{"scheduler/step.go",
		`t.State != Running || t.Attempt != c.Attempt || t.Worker != c.Worker || t.Incarnation != c.Incarnation {`,
		`t.State != Running {`}}, []string{"fence"}, "1"},
	{"a report is accepted whatever it built on", false, []edit{{"scheduler/step.go",
		`(n.tasks[0] != t || n.Epoch != c.Epoch || n.Version != c.Base)`,
		`n.tasks[0] != t`}}, []string{"fence"}, "20"},
	{"a finished task can be submitted again", false, []edit{{"scheduler/step.go",
		`if t := s.Task(c.ID); t != nil {`,
		`if t := s.tasks[c.ID]; t != nil {`}}, []string{"durable", "once"}, "1"},
	{"a change is applied twice", false, []edit{{"scheduler/step.go",
		`			s.change(n, t.ID, &c.Change)`,
		`			s.change(n, t.ID, &c.Change)
			s.change(n, t.ID, &c.Change)`}}, []string{"once"}, "1"},
	{"tasks of a lost worker are queued in map order", true, []edit{{"scheduler/query.go",
		`	slices.SortFunc(out, func(a, b *Task) int { return compare(a.seq, b.seq) })`,
		``}}, []string{"replicas", "once"}, "1"},
	{"a task that waited is charged an attempt", true, []edit{{"scheduler/place.go",
		`blamed := begun || (guess && i < int(w.Slots))`,
		`blamed := begun || i < 1e6`}}, []string{"blame"}, "1"},
	{"an attempt is charged for an earlier one", false, []edit{{"scheduler/place.go",
		`(a.Number == t.Attempt || a.Number == 0)`,
		`a.Number <= t.Attempt`}}, []string{"blame"}, "retry-not-begun.txt"},
	{"a task that kills its workers is never parked", false, []edit{{"scheduler/place.go",
		`case t.Losses > MaxLosses:`,
		`case t.Losses > 1e6:`}}, []string{"blame", "live"}, "1"},
	{"the clock runs back", false, []edit{{"scheduler/step.go",
		`s.Clock = max(s.Clock, now)`,
		`s.Clock = now`}}, []string{"clock"}, "1"},
	{"a delayed task begins early", false, []edit{{"scheduler/step.go",
		`s.delayed.min().NotBefore <= s.Clock {`,
		`s.delayed.min().NotBefore <= s.Clock+second {`}}, []string{"delay"}, "1"},
	{"a delayed task is lost", false, []edit{{"scheduler/step.go",
		`		s.touch(t)
		s.enqueue(t)
	}
	s.openGates()`,
		`		s.touch(t)
		if t.Namespace == "" {
			s.enqueue(t)
		}
	}
	s.openGates()`}}, []string{"live"}, "1"},
	{"a deadline is forgotten", false, []edit{{"scheduler/step.go",
		`	s.failOverdue()
`,
		``}}, []string{"deadline"}, "1"},
	{"a retry does not wait", false, []edit{{"scheduler/backoff.go",
		`	if d := t.backoff(); d > 0 {`,
		`	if d := t.backoff(); d < 0 {`}}, []string{"delay"}, "1"},
	{"a task goes when the first it runs after has ended", false, []edit{{"scheduler/after.go",
		`o.AfterWhen == AllFinished && live == 0,`,
		`o.AfterWhen == AllFinished && live < all,`}}, []string{"after"}, "1"},
	{"those that wait for a task are not told", false, []edit{{"scheduler/after.go",
		`		switch o.judge() {
		case mayGo:
			s.letGo(t)`,
		`		switch o.judge() {
		case mayGo:
			continue
			s.letGo(t)`}}, []string{"live"}, "1"},
	{"a slot is not given back", true, []edit{{"scheduler/step.go",
		`if n.running--; n.running > 0 {`,
		`if n.running--; true {`}}, []string{"slots"}, "1"},
	{"a task that failed once is not folded", false, []edit{{"scheduler/step.go",
		`	case j.Fold == "":`,
		`	case j.Fold == "" || t.Attempt > 1:`}}, []string{"job"}, "1"},
	{"a retry folds what was not owed", false, []edit{{"scheduler/jobs.go",
		`	if owed {`,
		`	if owed || j.Fold != "" && t.FoldOf == "" {`}}, []string{"job", "once"}, "1"},
	{"what was retried can be retried again", false, []edit{{"scheduler/jobs.go",
		`	s.rec.Delete(key)
	switch {`,
		`	switch {`}}, []string{"job", "once"}, "1"},
	{"a namespace's last comes first", false, []edit{{"scheduler/step.go",
		`	n.tasks = append(n.tasks, t)
	s.offerSpace(n)`,
		`	n.tasks = append(n.tasks[:n.running:n.running], append([]*Task{t}, n.tasks[n.running:]...)...)
	s.offerSpace(n)`}}, []string{"order"}, "1"},
	{"the state on disk says it is further than it is", true, []edit{{"fsm/flush.go",
		`	return m.generation - 1, m.pos
}`,
		`	p := m.pos
	p.Applied++
	return m.generation - 1, p
}`}}, []string{"replicas", "once", "disk", "durable"}, "1"},
	{"a changed record is not written", false, []edit{{"fsm/store.go",
		`		for _, k := range keys {
			if err := replace`,
		`		for _, k := range keys[:len(keys)-1] {
			if err := replace`}}, []string{"replicas", "disk", "durable", "once"}, "1"},
	{"entries are applied again after a restart", false, []edit{{"fsm/apply.go",
		`		if l.Index <= m.reached.Load() {
			continue
		}`,
		``}}, []string{"replicas"}, "1"},
	{"the log is dropped before the state is on disk", false, []edit{{"fsm/snapshots.go",
		`	if err := s.m.flushes.wait(context.Background(), s.generation); err != nil {
		return err
	}
	if own`,
		`	_ = context.Background
	if own`}, {"fsm/snapshots.go",
		`	return m.flush(context.Background())
}

func (p *position) claim`,
		`	return nil
}

func (p *position) claim`}}, []string{"disk"}, "1"},
	{"a worker gets a part of a namespace after items were removed", false, []edit{{"replica/roster/roster.go",
		` && have >= n.Cleared`,
		``}}, []string{"once"}, "1"},
	{"a new leader does not send what the old one may not have sent", false, []edit{{"replica/roster/roster.go",
		`			x.assign(s, t)
			continue`,
		`			continue`}}, []string{"live"}, "1"},
	{"what a worker holds counts as begun", false, []edit{{"replica/roster/roster.go",
		`		delete(has, t.ID)
		x.given[t.ID] = t.Attempt`,
		`		delete(has, t.ID)
		x.given[t.ID] = t.Attempt
		x.began[t.ID] = t.Attempt`}}, []string{"blame"}, "held-not-begun.txt"},
	{"what a refused report submits is taken", true, []edit{{"scheduler/step.go",
		`	n := s.namespaces[t.Namespace]
	if n != nil && (n.tasks[0] != t`,
		`	for _, x := range c.Submits {
		if s.Task(x.ID) == nil {
			s.accept(x, t)
		}
	}
	n := s.namespaces[t.Namespace]
	if n != nil && (n.tasks[0] != t`}}, []string{"once", "durable"}, "1"},
	{"what a failed attempt submits is taken", false, []edit{{"scheduler/step.go",
		`	default:
		t.Failures++
		t.blame(c.Cause)`,
		`	default:
		for _, x := range c.Submits {
			if s.Task(x.ID) == nil {
				s.accept(x, t)
			}
		}
		t.Failures++
		t.blame(c.Cause)`}}, []string{"once", "durable"}, "1"},
	{"what two tasks submit by one name is taken twice", false, []edit{{"scheduler/submits.go",
		`there := s.Task(c.ID) != nil;`,
		`there := s.tasks[c.ID] != nil;`}}, []string{"once", "durable"}, "1"},
	{"what a task submits is lost", false, []edit{{"scheduler/step.go",
		`			s.accept(child, t)`,
		`			_ = child`}}, []string{"once"}, "1"},
	{"what a task submits does not wait for others of it", false, []edit{{"scheduler/submits.go",
		`			take = append(take, c)`,
		`			x := *c
			if c.Options != nil {
				x.Options = c.Options.clone()
				x.Options.After, x.Options.AfterWhen = nil, 0
			}
			take = append(take, &x)`}}, []string{"after", "order"}, "1"},
	{"a worker is not told that its success was taken for a failure", false, []edit{{"replica/roster/roster.go",
		`		ref.Version = e.Version + 1`,
		``}}, []string{"once", "order"}, "refused-success.txt"},
	{"a rate forgets what it let through", false, []edit{{"scheduler/limit.go",
		`g.next = max(g.next, s.Clock) + b.Rate.interval()`,
		`g.next = s.Clock`}}, []string{"limit"}, "1"},
	{"a queue that is paused goes on", false, []edit{{"scheduler/limit.go",
		`case g.key == nil && g.queue.paused:`,
		`case g.key == nil && g.queue.paused && g.running == 0:`}}, []string{"limit"}, "1"},
	{"one too many of a queue runs", false, []edit{{"scheduler/limit.go",
		`g.running >= int(b.Concurrency):`,
		`g.running > int(b.Concurrency):`}}, []string{"limit"}, "1"},
	{"a gate does not open by itself", false, []edit{{"scheduler/limit.go",
		`	if until > 0 && g.waiting > 0 {`,
		`	if until > 0 && g.waiting > 1 {`}}, []string{"live"}, "1"},
	{"a unique key is let go by a retry", false, []edit{{"scheduler/unique.go",
		`begun && u.While != WhileQueued {`,
		`begun && u.While != WhileQueued && t.Attempt < 2 {`}}, []string{"unique"}, "1"},
	{"a task that put itself off comes back early", false, []edit{{"scheduler/step.go",
		`	t.NotBefore = s.Clock + wait
	if t.NotBefore > s.Clock {`,
		`	t.NotBefore = s.Clock + wait/2
	if t.NotBefore > s.Clock {`}}, []string{"delay"}, "1"},
	{"a task that puts itself off has failed", false, []edit{{"scheduler/step.go",
		`		s.putOff(t, c.Wait)`,
		`		t.Failures++
		s.putOff(t, c.Wait)`}}, []string{"snooze"}, "1"},
	{"a worker that is to be given nothing is given work", false, []edit{{"scheduler/place.go",
		`return !w.Drain && w.load < w.window()`,
		`return w.load < w.window()`}}, []string{"drain"}, "1"},
	{"a worker has as many slots as ever", false, []edit{{"scheduler/place.go",
		`	w.Slots = c.Slots
	s.gained(w)`,
		`	w.Slots = max(w.Slots, c.Slots)
	s.gained(w)`}}, []string{"slots"}, "1"},
	{"a worker is given what it does not have", false, []edit{{"scheduler/line.go",
		`if _, has := slices.BinarySearch(w.Has, n); !has {`,
		`if _, has := slices.BinarySearch(w.Has, n); !has && !strings.HasPrefix(n, "label:") {`}}, []string{"labels"}, "1"},
	{"a task that is made live again has failed before", false, []edit{{"scheduler/retry.go",
		`	t.Failures, t.Losses, t.Cancelling, t.Outcome, t.Finished, t.NotBefore = 0, 0, false, nil, 0, 0`,
		`	t.Losses, t.Cancelling, t.Outcome, t.Finished, t.NotBefore = 0, false, nil, 0, 0`}}, []string{"retry"}, "1"},
	{"a task that is made live again does not take its unique key", false, []edit{{"scheduler/retry.go",
		`	s.holdAgain(t)
`,
		``}}, []string{"unique"}, "150"},
	{"a job does not wait for a task that is made live again", false, []edit{{"scheduler/retry.go",
		`		j.Failed--
`,
		``}}, []string{"job"}, "1"},
	{"what a worker began is forgotten", false, []edit{{"replica/roster/roster.go",
		`	x.begun(m.Began)
`,
		``}}, []string{"blame", "live"}, "1"},
}

// TestMutations: the checks are known to bite.
func TestMutations(t *testing.T) {
	for i := range mutations {
		m := &mutations[i]
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			if !m.quick && !*allMutations {
				t.Skip("only with -mutations")
			}
			out := m.simulate(t)
			found := regexp.MustCompile(`(?m)^(?:#|[0-9]\S*s) +([a-z]+): .*`).FindAllStringSubmatch(out, -1)
			last := func(x []string) bool { return slices.Contains(m.checks, x[1]) }
			if !slices.ContainsFunc(found, last) {
				t.Fatalf("caught by no check of %q:\n%s", m.checks, out)
			}
			t.Logf("%.240s", found[slices.IndexFunc(found, last)][0])
			if first := strings.SplitN(out, "\n", 3); len(first) > 1 && m.begin != "" {
				t.Log(first[1])
			}
		})
	}
}

// simulate builds the simulation with the mutation and lets it search.
func (m *mutation) simulate(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, e := range m.edits {
		path := filepath.Join(root, e.file)
		from := path
		if done, ok := overlay.Replace[path]; ok {
			from = done
		}
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(b), e.old) != 1 {
			t.Fatalf("%s has not once the text\n%s", e.file, e.old)
		}
		overlay.Replace[path] = filepath.Join(dir, filepath.Base(e.file))
		if err := os.WriteFile(overlay.Replace[path], []byte(strings.Replace(string(b), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list, program := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "simulate")
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", list, "-ldflags=-s -w", "-o", program, "./simulate")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	args := []string{"-seed", m.begin, "-seconds", "60", "-shrink", "0"}
	if strings.HasSuffix(m.begin, ".txt") {
		args = []string{filepath.Join("testdata", m.begin)}
	}
	out, err := exec.Command(program, args...).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("not caught: %v\n%s", err, out)
	}
	return string(out)
}
