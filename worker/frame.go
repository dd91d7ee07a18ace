package worker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"farm/internal/wire"
)

// The protocol between a worker and a child: frames of a length (4 bytes,
// little endian, of what follows), a type byte and a body in the encoding of
// package wire. The worker sends one order and waits for its answer; only a
// cancel may be sent meanwhile, and progress may come before the answer. Both
// ends are the same binary, so there is no version.
const (
	frameHeader = 5         // bytes of length and type
	maxUp       = 16 << 20  // bytes of the largest frame a child may send, besides what it may change
	maxDown     = 1<<31 - 1 // bytes of the largest frame to a child: a namespace is at most half of that
	readAhead   = 4 << 10   // bytes read at a time, so that most frames take one read
	firstRead   = 64 << 10  // bytes allocated on the word of a header alone
)

// Frames to the child.
const (
	frameOrder  = 1
	frameCancel = 2
)

// Frames from the child.
const (
	frameReady    = 1
	frameAnswer   = 2
	frameProgress = 3
)

var errFrame = errors.New("worker: bad frame")

// startFrame begins a frame of type t in b, endFrame fills in its length.
func startFrame(b []byte, t byte) []byte { return append(b, 0, 0, 0, 0, t) }

func endFrame(b []byte) ([]byte, error) {
	n := len(b) - frameHeader + 1
	if n > maxDown {
		return nil, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	binary.LittleEndian.PutUint32(b, uint32(n))
	return b, nil
}

// readFrame reads one frame of at most limit bytes. The body is not reused.
// Errors: errFrame, wrapped, when the length is out of range, or those of r.
func readFrame(r io.Reader, limit uint32) (t byte, body []byte, err error) {
	return readFrameIn(r, limit, func(int) {})
}

// readFrameIn is readFrame that calls room with the length of a frame before it
// reads it.
func readFrameIn(r io.Reader, limit uint32, room func(n int)) (t byte, body []byte, err error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n == 0 || n > limit {
		return 0, nil, fmt.Errorf("%w: %d bytes", errFrame, n)
	}
	left := int(n - 1)
	room(left)
	body = make([]byte, min(left, firstRead))
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	for len(body) < left {
		have := len(body)
		body = slices.Grow(body, min(left-have, have))
		body = body[:min(left, cap(body))]
		if _, err := io.ReadFull(r, body[have:]); err != nil {
			return 0, nil, err
		}
	}
	return head[4], body, nil
}

// change is a change of a namespace's items. del is sorted.
type change struct {
	put map[string][]byte
	del []string
}

func (c change) append(b []byte) []byte {
	b = appendItems(b, c.put)
	return appendStrings(b, c.del)
}

func readChange(r *wire.Reader) change {
	return change{put: readItems(r), del: readStrings(r)}
}

// appendItems appends items in no particular order: the reader makes a map.
func appendItems(b []byte, items map[string][]byte) []byte {
	b = wire.AppendUint(b, uint64(len(items)))
	for k, v := range items {
		b = wire.AppendBytes(wire.AppendString(b, k), v)
	}
	return b
}

func readItems(r *wire.Reader) map[string][]byte {
	n := r.Count()
	if n == 0 {
		return nil
	}
	m := make(map[string][]byte, n)
	for range n {
		k := r.String()
		m[k] = r.Bytes()
	}
	return m
}

func appendStrings(b []byte, list []string) []byte {
	b = wire.AppendUint(b, uint64(len(list)))
	for _, s := range list {
		b = wire.AppendString(b, s)
	}
	return b
}

func readStrings(r *wire.Reader) []string {
	n := r.Count()
	var list []string
	for range n {
		list = append(list, r.String())
	}
	return list
}

func appendBlobs(b []byte, list [][]byte) []byte {
	b = wire.AppendUint(b, uint64(len(list)))
	for _, p := range list {
		b = wire.AppendBytes(b, p)
	}
	return b
}

func readBlobs(r *wire.Reader) [][]byte {
	n := r.Count()
	var list [][]byte
	for range n {
		list = append(list, r.Bytes())
	}
	return list
}

// mode says how the child's context comes to the namespace an order is for.
type mode byte

const (
	keep    mode = iota // it holds it
	restore             // from order.items
	update              // by order.change
)

// order is one attempt as the child is told of it.
type order struct {
	mode   mode
	items  map[string][]byte
	change change

	task      string
	namespace string // empty: private, nothing is kept
	attempt   uint32
	job       string
	args      map[string]string
	files     map[string][]byte

	source string
	call   string
	inputs [][]byte
	first  uint64 // position of the first input in its job
	fold   bool   // source is a program to be loaded only where the namespace lacks it

	set   string // instead of source: the variable to set to value
	value []byte
}

func (o *order) append(b []byte) []byte {
	b = append(b, byte(o.mode))
	switch o.mode {
	case restore:
		b = appendItems(b, o.items)
	case update:
		b = o.change.append(b)
	}
	b = wire.AppendString(b, o.task)
	b = wire.AppendString(b, o.namespace)
	b = wire.AppendUint(b, uint64(o.attempt))
	b = wire.AppendString(b, o.job)
	b = wire.AppendUint(b, uint64(len(o.args)))
	for _, k := range slices.Sorted(maps.Keys(o.args)) {
		b = wire.AppendString(wire.AppendString(b, k), o.args[k])
	}
	b = appendItems(b, o.files)
	b = wire.AppendString(b, o.source)
	b = wire.AppendString(b, o.call)
	b = appendBlobs(b, o.inputs)
	b = wire.AppendUint(b, o.first)
	b = wire.AppendBool(b, o.fold)
	b = wire.AppendString(b, o.set)
	return wire.AppendBytes(b, o.value)
}

func readOrder(body []byte) (*order, error) {
	r := wire.NewReader(body)
	o := &order{mode: mode(r.Byte())}
	switch o.mode {
	case restore:
		o.items = readItems(r)
	case update:
		o.change = readChange(r)
	}
	o.task, o.namespace, o.attempt, o.job = r.String(), r.String(), uint32(r.Uint()), r.String()
	if n := r.Count(); n > 0 {
		o.args = make(map[string]string, n)
		for range n {
			k := r.String()
			o.args[k] = r.String()
		}
	}
	o.files = readItems(r)
	o.source, o.call, o.inputs, o.first = r.String(), r.String(), readBlobs(r), r.Uint()
	o.fold, o.set, o.value = r.Bool(), r.String(), r.Bytes()
	return o, r.Done()
}

// failedInput is one of an order's inputs that the call failed with.
type failedInput struct {
	index   int
	message string
}

// failure is why an attempt failed: the kinds are those of api.TaskError.
type failure struct {
	kind      string
	message   string
	stack     []string
	permanent bool // another try cannot end otherwise
}

// answer is how an attempt ended in the child. Exactly one of failure and the
// other fields has a meaning.
type answer struct {
	failure *failure
	failed  []failedInput // with failure: the inputs it is for; results has the others
	spent   bool          // the child must not be used again

	value   []byte // JSON
	typ     string
	results [][]byte
	change  change
	submits [][]byte // encoded api.Submit

	room int64 // bytes of room its reader took; not sent
}

func (a *answer) append(b []byte) []byte {
	b = wire.AppendBool(b, a.spent)
	b = wire.AppendBool(b, a.failure != nil)
	if f := a.failure; f != nil {
		b = wire.AppendString(b, f.kind)
		b = wire.AppendString(b, f.message)
		b = appendStrings(b, f.stack)
		b = wire.AppendBool(b, f.permanent)
		b = wire.AppendUint(b, uint64(len(a.failed)))
		for _, x := range a.failed {
			b = wire.AppendString(wire.AppendUint(b, uint64(x.index)), x.message)
		}
		return appendBlobs(b, a.results)
	}
	b = wire.AppendBytes(b, a.value)
	b = wire.AppendString(b, a.typ)
	b = appendBlobs(b, a.results)
	b = appendBlobs(b, a.submits)
	return a.change.append(b)
}

func readAnswer(body []byte) (*answer, error) {
	r := wire.NewReader(body)
	a := &answer{spent: r.Bool()}
	if r.Bool() {
		a.failure = &failure{kind: r.String(), message: r.String(), stack: readStrings(r), permanent: r.Bool()}
		for range r.Count() {
			a.failed = append(a.failed, failedInput{int(r.Uint()), r.String()})
		}
		a.results = readBlobs(r)
	} else {
		a.value, a.typ, a.results, a.submits, a.change = r.Bytes(), r.String(), readBlobs(r), readBlobs(r), readChange(r)
	}
	return a, r.Done()
}
