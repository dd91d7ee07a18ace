package scheduler

import (
	"cmp"
	"slices"

	"farm/internal/wire"
)

// Options are what a task may ask for beyond the fields of Submit. The zero
// value asks for nothing, and costs nothing in the log and in the state.
//
// They are encoded as fields with a tag, only those that are set, in ascending
// order of tags, so that a new option needs no new type of command or record.
type Options struct {
	// Needs are what a worker must have to be given the task, sorted: labels
	// as "label:key=value", compiled handlers as "handler:name". A worker that
	// has handlers is given only tasks that need one.
	Needs []string
	// Queue is what the task is limited, paused and counted with; empty:
	// DefaultQueue.
	Queue string
	// Key is what the limits per key of the queue count by; empty: they do not
	// concern the task.
	Key string
	// Unique asks that there is no other task with the same unique key; nil: any.
	Unique *Unique
	Timing
}

// Tags of options. A number once used is never used for something else.
const (
	optNeeds  = 1
	optQueue  = 2
	optKey    = 3
	optUnique = 4
	optNewest = optRequest
)

// How things that a task needs and a worker has begin.
const (
	NeedLabel   = "label:"
	NeedHandler = "handler:"
)

// Numbers of things a task may need and a worker may have.
const (
	MaxNeeds      = 16
	MaxHas        = 1_024
	MaxNeedsBytes = MaxIDBytes * 3 // one of them
)

// optionWriter writes options one after the other: of each its tag and its value.
type optionWriter struct {
	out  []byte
	n    int
	room [128]byte // for the value of one option, which is copied
}

func (w *optionWriter) put(tag uint64, value []byte) {
	w.out = wire.AppendBytes(wire.AppendUint(w.out, tag), value)
	w.n++
}

// write writes the options that are set, by tag.
func (o *Options) write(w *optionWriter) {
	if len(o.Needs) > 0 {
		w.put(optNeeds, appendStrings(w.room[:0], o.Needs))
	}
	if o.Queue != "" {
		w.put(optQueue, wire.AppendString(w.room[:0], o.Queue))
	}
	if o.Key != "" {
		w.put(optKey, wire.AppendString(w.room[:0], o.Key))
	}
	if o.Unique != nil {
		w.put(optUnique, o.Unique.append(w.room[:0]))
	}
	o.Timing.write(w)
}

// set reads one option.
func (o *Options) set(tag uint64, r *wire.Reader) error {
	switch tag {
	case optNeeds:
		o.Needs = readStrings(r)
	case optQueue:
		o.Queue = r.String()
	case optKey:
		o.Key = r.String()
	case optUnique:
		o.Unique = readUnique(r)
	default:
		if !o.Timing.set(tag, r) {
			return &VersionError{What: "task option", Got: byte(min(tag, 255)), Want: optNewest}
		}
	}
	return r.Done()
}

// None tells whether nothing is asked for.
func (o *Options) None() bool {
	switch {
	case o == nil:
		return true
	case len(o.Needs) > 0 || o.Queue != "" || o.Key != "": // what most have, without encoding it
		return false
	}
	return o.Unique == nil && o.Timing.none()
}

func (o *Options) append(b []byte) []byte {
	w := optionWriter{out: append(b, 0)}
	o.write(&w)
	w.out[len(b)] = byte(w.n) // there are fewer than 128 kinds: a number of one byte
	return w.out
}

// readOptions reads what append wrote. Errors: wire.ErrCorrupt, *VersionError.
func readOptions(r *wire.Reader) (*Options, error) {
	o, last := &Options{}, uint64(0)
	for range r.Count() {
		tag, value := r.Uint(), r.Bytes()
		if r.Err() != nil {
			break
		}
		if tag <= last {
			return nil, wire.ErrCorrupt
		}
		if err := o.set(tag, wire.NewReader(value)); err != nil {
			return nil, err
		}
		last = tag
	}
	return o, r.Err()
}

// allowed says whether a client may ask for these options.
func (o *Options) allowed() Result {
	if o == nil {
		return Result{Code: OK}
	}
	switch {
	case o.Queue != "" && !ValidName(o.Queue):
		return refuse(Invalid, "a queue's name is not a name: %q", o.Queue)
	case len(o.Key) > MaxKeyBytes:
		return refuse(Limit, "the task's key has %d bytes, the limit is %d", len(o.Key), MaxKeyBytes)
	case o.Unique != nil:
		if r := o.Unique.allowed(); r.Code != OK {
			return r
		}
	}
	if r := o.Timing.allowed(); r.Code != OK {
		return r
	}
	return thingsAllowed("the task needs", o.Needs, MaxNeeds)
}

// optionsAllowed is allowed, and whether there is room for them in the state.
func (s *State) optionsAllowed(c *Submit) Result {
	o := c.Options
	if r := o.allowed(); r.Code != OK || o == nil {
		return r
	}
	if c.Kind != Run && (o.Queue != "" || o.Key != "" || len(o.Needs) > 0) {
		return refuse(Invalid, "no worker carries this kind of task out: it has no queue, key or needs")
	}
	if c.Job != "" && o.Unique != nil {
		return refuse(Invalid, "a task of a job cannot have a unique key")
	}
	return s.placesAllowed(o)
}

// placesAllowed says whether there is room in the state for one more task with
// these needs, this queue and this key.
func (s *State) placesAllowed(o *Options) Result {
	queue := cmp.Or(o.Queue, DefaultQueue)
	if r := s.queueAllowed(queue); r.Code != OK {
		return r
	}
	if i, there := s.queueIndex(queue); o.Key != "" && s.keys >= MaxKeys && (!there || s.queues[i].keys[o.Key] == nil) {
		return refuse(Limit, "%d keys are in use, which is the limit", s.keys)
	}
	if len(s.classes) >= MaxNeedsSets && s.classes[needsKey(o.Needs)] == nil {
		return refuse(Limit, "waiting and running tasks have %d different sets of needs, which is the limit", len(s.classes))
	}
	return Result{Code: OK}
}

// thingsAllowed says whether a list of labels and handlers is sorted, without
// repeats, and within its limits.
func thingsAllowed(what string, things []string, most int) Result {
	if len(things) > most {
		return refuse(Limit, "%s %d things, the limit is %d", what, len(things), most)
	}
	for i, t := range things {
		if t == "" || len(t) > MaxNeedsBytes || (i > 0 && things[i-1] >= t) {
			return refuse(Invalid, "%s %q: names are of 1 to %d bytes, sorted, each once", what, t, MaxNeedsBytes)
		}
	}
	return Result{Code: OK}
}

// clone copies options that come from a command, whose bytes are the log's.
func (o *Options) clone() *Options {
	c := &Options{Needs: slices.Clone(o.Needs), Queue: o.Queue, Key: o.Key, Timing: o.Timing.clone()}
	if o.Unique != nil {
		u := *o.Unique
		c.Unique = &u
	}
	return c
}

// unique is what the options ask for, nil for none.
func (o *Options) unique() *Unique {
	if o == nil {
		return nil
	}
	return o.Unique
}

func appendStrings(b []byte, list []string) []byte {
	b = wire.AppendUint(b, uint64(len(list)))
	for _, s := range list {
		b = wire.AppendString(b, s)
	}
	return b
}

func readStrings(r *wire.Reader) (list []string) {
	for range r.Count() {
		list = append(list, r.String())
	}
	return list
}
