package scheduler

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"farm/internal/part"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts as the state makes them")

// TestTranscripts plays testdata/*.txt: lines at the margin are commands, the
// indented lines below are what the state answers, and what it tells the leader
// to do. With -rewrite they are written anew, to be read in the diff.
//
//	at SECONDS                          the clock
//	up WORKER [inc=N] [slots=N] [has=THING,THING]   a worker, or a new incarnation
//	lost WORKER [inc=N] [began=ID,ID] [guess]
//	drain WORKER / undrain WORKER
//	slots WORKER [inc=N] [slots=N]
//	queue Q [pause|resume] [conc=N] [rate=N/SECONDS] [burst=N] [keyconc=N] [keyrate=N/SECONDS] [keyburst=N]
//	queues                              all of them
//	next                                the next deadline
//	why ID ...                          what tasks wait for
//	upload PART,PART [owner=W]          parts, each of the bytes of its name
//	submit ID [ns=N] [patch|drop] [put=K:V,K:V] [parts=K:PART+PART,K:PART] [del=K] [require=K:V,K] [when=VERSION]
//	       [job=J] [retries=N] [inputs=N] [prio=N] [delay=SECONDS] [body=BYTES] [restore=VERSION] [fork=NS] [needs=THING,THING] [queue=Q] [key=K] [unique=KEY,queued|running|SECONDS]
//	complete ID [attempt=N] [worker=W] [inc=N] [epoch=N] [base=N] [took=MILLISECONDS]
//	       [put=K:V] [parts=K:PART+PART] [del=K] [fail=CAUSE] [wrong=CAUSE] [stopped] [snooze=SECONDS] [out=BYTES]
//	       [submits=ID@JOB:NS,ID] [kind=N]  tasks that it submits; an ID that begins with '/' goes
//	       behind that of the task
//	       what is not given is as the state has it: a report of the current attempt
//	return WORKER ID[/ATTEMPT] ...
//	cancel ID, retry ID
//	open JOB [fold=N], seal JOB [total=N], stop JOB
//	replace JOB task=ID by=ID,... [round=N] [more]
//	tick
//	show ID or NAMESPACE ...            tasks, namespaces, workers, jobs
//	history NAMESPACE                   the versions that are kept
//	parts                               the parts that are there, and what waits to be used
//	reload                              go on from the records
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p := &player{s: mustLoad(plainRecords{}), t: t}
			is := p.play(string(was))
			if *rewrite {
				if err := os.WriteFile(file, []byte(is), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			a, b := strings.Split(string(was), "\n"), strings.Split(is, "\n")
			for i := range max(len(a), len(b)) {
				if i >= len(a) || i >= len(b) || a[i] != b[i] {
					t.Fatalf("%s:%d: it is now\n%s", file, i+1, strings.Join(b[max(0, min(i-3, len(b))):min(i+6, len(b))], "\n"))
				}
			}
		})
	}
}

type player struct {
	s *State
	t *testing.T
	f fields
}

// fields are the words of a command line.
type fields struct {
	words []string
	t     *testing.T
}

func (f fields) has(word string) bool {
	for _, w := range f.words[1:] {
		if w == word {
			return true
		}
	}
	return false
}

func (f fields) text(key, other string) string {
	for _, w := range f.words[1:] {
		if v, ok := strings.CutPrefix(w, key+"="); ok {
			return strings.ReplaceAll(v, "_", " ")
		}
	}
	return other
}

func (f fields) number(key string, other int64) int64 {
	v := f.text(key, "")
	if v == "" {
		return other
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		f.t.Fatalf("%v: %v", f.words, err)
	}
	return n
}

func (f fields) list(key string) []string {
	if v := f.text(key, ""); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}

// attempts are a task and number each, as a/2; without a number it is any.
func (f fields) attempts(key string) (out []Attempt) {
	for _, w := range f.list(key) {
		task, number, _ := strings.Cut(w, "/")
		n, _ := strconv.ParseUint(number, 10, 32)
		out = append(out, Attempt{task, uint32(n)})
	}
	return out
}

func (f fields) items(key string) (items []Item) {
	for _, w := range f.list(key) {
		k, v, has := strings.Cut(w, ":")
		it := Item{Key: k}
		if has {
			it.Value = []byte(v)
		}
		items = append(items, it)
	}
	return items
}

func (p *player) play(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "  ") {
			continue
		}
		fmt.Fprintln(&out, line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		p.f = fields{strings.Fields(line), p.t}
		for _, l := range p.do() {
			fmt.Fprintln(&out, " ", l)
		}
	}
	return out.String()
}

func (p *player) do() (out []string) {
	switch p.f.words[0] {
	case "at":
		n, err := strconv.ParseFloat(p.f.words[1], 64)
		if err != nil {
			p.t.Fatal(err)
		}
		p.s.Advance(int64(n * float64(second)))
		return p.s.take()
	case "show":
		for _, name := range p.f.words[1:] {
			out = append(out, p.show(name))
		}
		return out
	case "history":
		for _, v := range p.s.History(p.f.words[1]) {
			out = append(out, fmt.Sprintf("version %d at %v by %s, %d changed, restorable %v", v.Number, float64(v.Made)/float64(second), v.Task, v.Changed, v.Restorable))
		}
		return out
	case "parts":
		return p.parts()
	case "queues":
		return p.queues()
	case "next":
		return []string{fmt.Sprint(float64(p.s.NextDeadline()) / float64(second))}
	case "why":
		for _, id := range p.f.words[1:] {
			out = append(out, id+": "+p.s.WaitsFor(p.s.Task(id)))
		}
		return out
	case "upload":
		for _, text := range strings.Split(p.f.words[1], ",") {
			r := p.s.Step(&Upload{Owner: p.f.text("owner", ""), Hash: part.HashOf([]byte(text)), Bytes: []byte(text)})
			out = append(out, fmt.Sprintf("%s %s", text, r.Code))
		}
		return append(out, p.s.take()...)
	case "reload":
		p.s = mustLoad(p.s.settled())
		return nil
	}
	r := p.s.Step(p.command())
	answer := r.Code.String()
	if r.Detail != "" {
		answer += ": " + r.Detail
	}
	return append([]string{answer}, p.s.take()...)
}

func (p *player) command() Command {
	f := p.f
	name := ""
	if len(f.words) > 1 {
		name = f.words[1]
	}
	inc := uint64(1)
	if w := p.s.Worker(name); w != nil {
		inc = w.Incarnation
	}
	inc = uint64(f.number("inc", int64(inc)))
	switch f.words[0] {
	case "up":
		return &WorkerUp{Worker: name, Incarnation: inc, Slots: uint32(f.number("slots", 1)), Has: f.list("has")}
	case "lost":
		return &WorkerLost{Worker: name, Incarnation: inc, Began: f.attempts("began"), Guess: f.has("guess"), Cause: "no heartbeat"}
	case "drain", "undrain":
		return &WorkerIdle{Worker: name, Drain: f.words[0] == "drain"}
	case "slots":
		return &WorkerSlots{Worker: name, Incarnation: inc, Slots: uint32(f.number("slots", 0))}
	case "submit":
		return p.submit(name)
	case "complete":
		return p.complete(name)
	case "return":
		return p.giveBack(name, inc)
	case "cancel":
		return &Cancel{ID: name}
	case "open":
		return &OpenJob{ID: name, Fold: f.text("fold", "")}
	case "seal":
		return &SealJob{ID: name, Total: uint64(f.number("total", 0))}
	case "stop":
		return &CancelJob{ID: name}
	case "replace":
		return p.replace(name)
	case "queue":
		return p.setQueue(name)
	case "retry":
		return &Retry{ID: name}
	case "tick":
		return &Tick{}
	}
	p.t.Fatalf("what is %v", f.words)
	return nil
}

func (p *player) change() Change {
	c := Change{Put: p.f.items("put"), Delete: p.f.list("del"), Require: p.f.items("require")}
	if v := p.f.number("when", -1); v >= 0 {
		c.At = uint64(v) + 1
	}
	for _, w := range p.f.list("parts") {
		k, list, _ := strings.Cut(w, ":")
		m := &part.Manifest{}
		for _, text := range strings.Split(list, "+") {
			m.Parts, m.Size = append(m.Parts, part.HashOf([]byte(text))), m.Size+uint64(len(text))
		}
		c.Put = append(c.Put, Item{Key: k, Parts: m})
	}
	c.Sort()
	return c
}

// parts lists what is there of parts, by their bytes.
func (p *player) parts() (out []string) {
	p.s.rec.Scan("p/", "", func(k string, rec []byte) bool {
		h := part.Hash([]byte(k[2:]))
		c, _ := p.s.counted(h)
		text := fmt.Sprintf("%s: %d references", rec[1:], c.refs)
		if l := p.s.leases[h]; l != nil {
			text += fmt.Sprintf(", kept until %v for %q", float64(l.until)/float64(second), l.owner)
		}
		out = append(out, text)
		return true
	})
	slices.Sort(out)
	n, bytes := p.s.Uploads()
	return append(out, fmt.Sprintf("%d of %d bytes wait to be used", n, bytes))
}

func (p *player) submit(id string) Command {
	f := p.f
	c := &Submit{ID: id, Namespace: f.text("ns", ""), Job: f.text("job", ""), Kind: Run, Retries: uint32(f.number("retries", 0)),
		Inputs: uint64(f.number("inputs", 0)), Priority: int32(f.number("prio", 0)), Delay: f.number("delay", 0) * second, Body: make([]byte, f.number("body", 0)),
		Options: &Options{Needs: f.list("needs"), Queue: f.text("queue", ""), Key: f.text("key", ""), Unique: f.unique()}}
	switch {
	case f.has("patch"):
		x := p.change()
		c.Kind, c.Body = Patch, x.Encode()
		if x.InParts() {
			c.Kind = PatchParts
		}
	case f.has("drop"):
		c.Kind = Drop
	case f.text("restore", "") != "":
		c.Kind, c.Body = Restore, RestoreBody(uint64(f.number("restore", 0)))
	case f.text("fork", "") != "":
		c.Kind, c.Body = Fork, ForkBody(f.text("fork", ""))
	}
	return c
}

func (p *player) complete(id string) Command {
	f := p.f
	c := &Complete{Task: id, Status: Success, Change: p.change(), Outcome: make([]byte, f.number("out", 0)), Took: f.number("took", 1000) * 1e6}
	if t := p.s.Task(id); t != nil {
		c.Attempt, c.Worker, c.Incarnation, c.Epoch = t.Attempt, t.Worker, t.Incarnation, t.Epoch
		if n := p.s.Namespace(t.Namespace); n != nil {
			c.Base = n.Version
		}
	}
	c.Attempt = uint32(f.number("attempt", int64(c.Attempt)))
	c.Worker = f.text("worker", c.Worker)
	c.Incarnation = uint64(f.number("inc", int64(c.Incarnation)))
	c.Epoch = uint64(f.number("epoch", int64(c.Epoch)))
	c.Base = uint64(f.number("base", int64(c.Base)))
	c.Done = uint64(f.number("done", 0))
	switch {
	case f.text("fail", "") != "":
		c.Status, c.Cause = Failure, f.text("fail", "")
	case f.text("wrong", "") != "":
		c.Status, c.Cause = Permanent, f.text("wrong", "")
	case f.has("stopped"):
		c.Status = Stopped
	case f.text("snooze", "") != "":
		c.Status, c.Wait = Snoozed, f.number("snooze", 0)*second
	}
	for _, w := range f.list("submits") {
		child, ns, _ := strings.Cut(w, ":")
		child, job, _ := strings.Cut(child, "@")
		if strings.HasPrefix(child, "/") {
			child = id + child
		}
		c.Submits = append(c.Submits, &Submit{ID: child, Namespace: ns, Job: job, Kind: Kind(f.number("kind", int64(Run)))})
	}
	return c
}

func (p *player) replace(job string) Command {
	c := &Replace{Job: job, Round: uint64(p.f.number("round", 1)), Task: p.f.text("task", ""), Last: !p.f.has("more")}
	for _, id := range p.f.list("by") {
		c.Items = append(c.Items, Replacement{ID: id, Body: []byte("again")})
	}
	return c
}

func (p *player) giveBack(worker string, inc uint64) Command {
	c := &Return{Worker: worker, Incarnation: inc}
	for _, w := range p.f.words[2:] {
		id, attempt, given := strings.Cut(w, "/")
		a := Attempt{Task: id}
		if t := p.s.Task(id); t != nil {
			a.Number = t.Attempt
		}
		if given {
			n, err := strconv.Atoi(attempt)
			if err != nil {
				p.t.Fatal(err)
			}
			a.Number = uint32(n)
		}
		c.Attempts = append(c.Attempts, a)
	}
	return c
}

// show is a task, namespace, worker or job in a line.
func (p *player) show(name string) string {
	s := p.s
	if t := s.Task(name); t != nil {
		text := fmt.Sprintf("task %s %s, attempt %d", t.ID, t.State, t.Attempt)
		if t.Failures+t.Losses > 0 {
			text += fmt.Sprintf(", %d failed, %d lost %q", t.Failures, t.Losses, t.Causes)
		}
		if t.Cancelling {
			text += ", being cancelled"
		}
		if t.Parent != "" {
			text += fmt.Sprintf(", of %s, depth %d", t.Parent, t.Depth)
		}
		return text
	}
	if n := s.Namespace(name); n != nil {
		text := fmt.Sprintf("namespace %s version %d, held by %q in epoch %d, %d of %d running:", n.Name, n.Version, n.Worker, n.Epoch, n.running, n.Queue())
		s.Items(name, 0, func(k string, v []byte, version uint64) { text += fmt.Sprintf(" %s=%s@%d", k, v, version) })
		return text
	}
	if w := s.Worker(name); w != nil {
		return fmt.Sprintf("worker %s/%d busy %d of %d, %d assigned", w.ID, w.Incarnation, w.Busy(), w.Slots, w.Assigned())
	}
	if j := s.Job(name); j != nil {
		text := fmt.Sprintf("job %s: %d of %d succeeded, %d failed, %d of %d folded, first error %q, last fold %q, finished %v",
			j.ID, j.Succeeded, j.Total, j.Failed, j.Folded, j.Folds, j.FirstError, j.LastFold, j.Finished > 0)
		if j.Inputs > 0 {
			text += fmt.Sprintf(", %d of %d inputs done, round %d, unfinished:", j.Done, j.Inputs, j.Round)
			for _, u := range s.Unfinished(name, 0, 100) {
				text += " " + u.Task
			}
		}
		return text
	}
	return "no " + name
}
