package scheduler

import (
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
	// as "label:key=value", compiled handlers as "handler:name".
	Needs []string
}

// Tags of options. A number once used is never used for something else.
const (
	optNeeds  = 1
	optNewest = optNeeds
)

// Numbers of things a task may need and a worker may have.
const (
	MaxNeeds      = 16
	MaxHas        = 1_024
	MaxNeedsBytes = MaxIDBytes * 3 // one of them
)

type optionField struct {
	tag   uint64
	value []byte
}

// fields are the options that are set, by tag.
func (o *Options) fields() (f []optionField) {
	if len(o.Needs) > 0 {
		f = append(f, optionField{optNeeds, appendStrings(nil, o.Needs)})
	}
	return f
}

// set reads one option.
func (o *Options) set(tag uint64, r *wire.Reader) error {
	switch tag {
	case optNeeds:
		o.Needs = readStrings(r)
	default:
		return &VersionError{What: "task option", Got: byte(min(tag, 255)), Want: optNewest}
	}
	return r.Done()
}

// None tells whether nothing is asked for.
func (o *Options) None() bool { return o == nil || len(o.fields()) == 0 }

func (o *Options) append(b []byte) []byte {
	fields := o.fields()
	b = wire.AppendUint(b, uint64(len(fields)))
	for _, f := range fields {
		b = wire.AppendBytes(wire.AppendUint(b, f.tag), f.value)
	}
	return b
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
	return thingsAllowed("the task needs", o.Needs, MaxNeeds)
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
	return &Options{Needs: slices.Clone(o.Needs)}
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
