package vm

import (
	"farm/namespace/vm/raw"
)

// partKind is how a scalar lies in memory and in registers.
type partKind uint8

const (
	partI8 partKind = iota
	partI16
	partI32
	part64 // any 64 bits that are no pointer
	partU8
	partU16
	partU32
	partF32
	partPtr
	partStr   // pointer register and number register
	partSlice // pointer register and two number registers
	partIface // two pointer registers
)

// width in registers of each bank
func (k partKind) width() (ptrs, nums int32) {
	switch k {
	case partPtr:
		return 1, 0
	case partStr:
		return 1, 1
	case partSlice:
		return 1, 2
	case partIface:
		return 2, 0
	}
	return 0, 1
}

// part is a scalar of a value: where it is in memory, and in registers relative to those of the value.
type part struct {
	kind partKind
	off  int32
	at   loc
}

// loc is registers: the first pointer register and the first number register of a value.
type loc struct{ p, n int32 }

func (l loc) plus(m loc) loc { return loc{l.p + m.p, l.n + m.n} }

// maxFlat is how many registers a value may take. Values that need more, and arrays, are boxed: one
// pointer register holds the address of memory that is never written again.
const maxFlat = 8

// shape is how values of a type are held in registers.
type shape struct {
	parts []part
	size  loc // registers
	boxed bool
	t     raw.Type
}

// add appends the parts of a component that lies off bytes into the value.
func (s *shape) add(x *shape, off int32) loc {
	at := s.size
	for _, p := range x.parts {
		s.parts = append(s.parts, part{p.kind, p.off + off, at.plus(p.at)})
	}
	s.size = s.size.plus(x.size)
	return at
}

func scalar(k partKind) *shape {
	p, n := k.width()
	return &shape{parts: []part{{kind: k}}, size: loc{p, n}}
}

// load fills registers from memory. pp and np are the first registers of the value.
func (s *shape) load(pp, np, mem raw.Pointer) {
	if s.boxed {
		box := raw.New(s.t)
		raw.Move(s.t, box, mem)
		*raw.At[raw.Pointer](pp, 0) = box
		return
	}
	for i := range s.parts {
		x := &s.parts[i]
		n := raw.At[uint64](np, x.at.n*8)
		switch x.kind {
		case partI8:
			*n = uint64(*raw.At[int8](mem, x.off))
		case partI16:
			*n = uint64(*raw.At[int16](mem, x.off))
		case partI32:
			*n = uint64(*raw.At[int32](mem, x.off))
		case part64:
			*n = *raw.At[uint64](mem, x.off)
		case partU8:
			*n = uint64(*raw.At[uint8](mem, x.off))
		case partU16:
			*n = uint64(*raw.At[uint16](mem, x.off))
		case partU32, partF32:
			*n = uint64(*raw.At[uint32](mem, x.off))
		case partPtr:
			*raw.At[raw.Pointer](pp, x.at.p*8) = *raw.At[raw.Pointer](mem, x.off)
		case partStr:
			v := *raw.At[string](mem, x.off)
			*raw.At[raw.Pointer](pp, x.at.p*8), *n = raw.StringData(v), uint64(len(v))
		case partSlice:
			h := raw.At[slice](mem, x.off)
			*raw.At[raw.Pointer](pp, x.at.p*8), *n, *raw.At[uint64](np, x.at.n*8+8) = h.p, h.n, h.c
		case partIface:
			w := raw.At[[2]raw.Pointer](mem, x.off)
			*raw.At[[2]raw.Pointer](pp, x.at.p*8) = *w
		}
	}
}

// slice is a slice in memory.
type slice struct {
	p    raw.Pointer
	n, c uint64
}

// store writes registers to memory of the type.
func (s *shape) store(mem, pp, np raw.Pointer) {
	if s.boxed {
		raw.Move(s.t, mem, *raw.At[raw.Pointer](pp, 0))
		return
	}
	for i := range s.parts {
		x := &s.parts[i]
		switch x.kind {
		case partI8, partU8:
			*raw.At[uint8](mem, x.off) = uint8(*raw.At[uint64](np, x.at.n*8))
		case partI16, partU16:
			*raw.At[uint16](mem, x.off) = uint16(*raw.At[uint64](np, x.at.n*8))
		case partI32, partU32, partF32:
			*raw.At[uint32](mem, x.off) = uint32(*raw.At[uint64](np, x.at.n*8))
		case part64:
			*raw.At[uint64](mem, x.off) = *raw.At[uint64](np, x.at.n*8)
		case partPtr:
			*raw.At[raw.Pointer](mem, x.off) = *raw.At[raw.Pointer](pp, x.at.p*8)
		case partStr:
			*raw.At[string](mem, x.off) = raw.String(*raw.At[raw.Pointer](pp, x.at.p*8), *raw.At[uint64](np, x.at.n*8))
		case partSlice:
			*raw.At[slice](mem, x.off) = slice{*raw.At[raw.Pointer](pp, x.at.p*8), *raw.At[uint64](np, x.at.n*8), *raw.At[uint64](np, x.at.n*8+8)}
		case partIface:
			*raw.At[[2]raw.Pointer](mem, x.off) = *raw.At[[2]raw.Pointer](pp, x.at.p*8)
		}
	}
}

// zero clears registers.
func (s *shape) zero(pp, np raw.Pointer) {
	if s.boxed {
		*raw.At[raw.Pointer](pp, 0) = raw.New(s.t)
		return
	}
	for i := range s.size.p {
		*raw.At[raw.Pointer](pp, i*8) = nil
	}
	for i := range s.size.n {
		*raw.At[uint64](np, i*8) = 0
	}
}
