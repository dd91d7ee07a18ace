package raw

import (
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"reflect"
	"runtime"
	"sync"
	"unsafe"
)

// The layouts below are those of internal/abi.

type abiType struct {
	Size       uintptr
	PtrBytes   uintptr
	Hash       uint32
	TFlag      uint8
	Align      uint8
	FieldAlign uint8
	Kind       uint8
	Equal      func(a, b unsafe.Pointer) bool
	GCData     *byte
	Str        int32
	PtrToThis  int32
}

const (
	flagUncommon     = 1 << 0
	flagExtraStar    = 1 << 1
	flagNamed        = 1 << 2
	flagRegular      = 1 << 3
	flagMaskOnDemand = 1 << 4
	flagDirect       = 1 << 5
)

type abiStruct struct {
	abiType
	PkgPath *byte
	Fields  []abiField
}

type abiField struct {
	Name   *byte
	Typ    unsafe.Pointer
	Offset uintptr
}

type abiPointer struct {
	abiType
	Elem unsafe.Pointer
}

type abiArray struct {
	abiType
	Elem, Slice unsafe.Pointer
	Len         uintptr
}

type abiInterface struct {
	abiType
	PkgPath *byte
	Methods []abiImethod
}

type abiImethod struct{ Name, Typ int32 }

type uncommon struct {
	PkgPath int32
	Mcount  uint16
	Xcount  uint16
	Moff    uint32
	_       uint32
}

type abiMethod struct{ Name, Mtyp, Ifn, Tfn int32 }

// sizes of the kinds, without what follows them
var kindSize = map[reflect.Kind]uintptr{
	reflect.Array: 72, reflect.Chan: 64, reflect.Func: 56, reflect.Interface: 80, reflect.Map: 112,
	reflect.Pointer: 56, reflect.Slice: 56, reflect.Struct: 80,
}

// Layout is what is known of a type before what it consists of is there: recursive types need it.
type Layout struct {
	Kind        reflect.Kind
	Size, Align uintptr
	Pointers    []uintptr // offsets of its pointer words, ascending
	Comparable  bool
	Regular     bool // equal when all bytes are
	Params      int  // of a function type: parameters and results
}

// Method of a type: those that are not exported have no Entry.
type Method struct {
	Name string
	Type reflect.Type // without receiver
	// Call is the function value for a call through an interface: the receiver is the data word of the
	// interface. Direct is that for a call with the receiver as it is. Nil when not exported.
	Call, Direct Pointer
}

// Field of a struct.
type Field struct {
	Name     string
	Tag      string
	Type     reflect.Type
	Offset   uintptr
	Embedded bool
	Exported bool
}

// Imethod is a method of an interface type.
type Imethod struct {
	Name string
	Type reflect.Type
}

// kept keeps what the runtime knows by number only. Types are made for good.
var kept struct {
	sync.Mutex
	all  []any
	hash uint32
}

// Kept is the number of things made for good.
func Kept() int {
	kept.Lock()
	defer kept.Unlock()
	return len(kept.all)
}

func keep(v any) {
	kept.Lock()
	defer kept.Unlock()
	kept.all = append(kept.all, v)
}

func name(s, tag string, exported, embedded bool) *byte {
	b := []byte{0}
	if exported {
		b[0] |= 1
	}
	if embedded {
		b[0] |= 8
	}
	b = append(uvarint(b, len(s)), s...)
	if tag != "" {
		b[0] |= 2
		b = append(uvarint(b, len(tag)), tag...)
	}
	return &b[0]
}

func uvarint(b []byte, n int) []byte {
	for ; n >= 128; n >>= 7 {
		b = append(b, byte(n)|128)
	}
	return append(b, byte(n))
}

func nameOff(s string, exported bool) int32 {
	return addReflectOff(unsafe.Pointer(name(s, "", exported, false)))
}

func typeOff(t reflect.Type) int32 { return addReflectOff(TypeOf(t)) }

func hashOf(s string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	kept.Lock()
	defer kept.Unlock()
	kept.hash++
	return h.Sum32() ^ kept.hash*0x9e3779b1
}

// Forge is a type that is being made. Its address is known at once; Type may be used in other types
// before Fill.
type Forge struct {
	t, ptr  *abiType
	pkg     string
	equal   func(a, b unsafe.Pointer) bool
	entries []int // of its methods
}

// NewForge begins a type with the layout. text is what reflect.Type.String gives; a type with a name
// has its package and name in it, like "main.T". methods and ptrMethods are the numbers of methods of
// the type and of the pointer to it, which is made with it.
func NewForge(text, pkg string, named bool, l Layout, methods, ptrMethods int) *Forge {
	f := &Forge{pkg: pkg}
	head, ok := kindSize[l.Kind]
	if !ok {
		head = unsafe.Sizeof(abiType{})
	}
	f.t = (*abiType)(newBlock(head, l.Params, methods))
	f.ptr = (*abiType)(newBlock(kindSize[reflect.Pointer], 0, ptrMethods))
	t := f.t
	t.Size, t.Align, t.FieldAlign, t.Kind = l.Size, uint8(l.Align), uint8(l.Align), uint8(l.Kind)
	t.TFlag = flagUncommon
	if named {
		t.TFlag |= flagNamed
	}
	if l.Regular {
		t.TFlag |= flagRegular
	}
	t.Hash, t.Str = hashOf(text), nameOff(text, true)
	if n := len(l.Pointers); n > 0 {
		t.PtrBytes = l.Pointers[n-1] + 8
		mask := make([]byte, (t.PtrBytes/8+63)/64*8) // the runtime reads whole words
		for _, off := range l.Pointers {
			mask[off/64] |= 1 << (off / 8 % 8)
		}
		t.GCData = &mask[0]
	}
	if t.Size == 8 && t.PtrBytes == 8 {
		t.TFlag |= flagDirect
	}
	f.placeholder(l)
	if l.Comparable {
		t.Equal = func(a, b unsafe.Pointer) bool { return f.equal(a, b) }
	}
	p := (*abiPointer)(unsafe.Pointer(f.ptr))
	p.abiType = *(*abiType)(TypeOf(reflect.TypeFor[*int]()))
	p.TFlag = p.TFlag&(flagRegular|flagDirect) | flagUncommon
	p.Hash, p.Str, p.PtrToThis = hashOf("*"+text), nameOff("*"+text, true), 0
	p.Elem = unsafe.Pointer(t)
	t.PtrToThis = addReflectOff(unsafe.Pointer(f.ptr))
	keep(f)
	return f
}

// placeholder gives a struct or array that is not complete yet its pointers: package reflect looks there
// for those of a map or array of it.
func (f *Forge) placeholder(l Layout) {
	word := TypeOf(reflect.TypeFor[unsafe.Pointer]())
	var fields []abiField
	for _, off := range l.Pointers {
		fields = append(fields, abiField{name("_", "", false, false), word, off})
	}
	switch l.Kind {
	case reflect.Struct:
		(*abiStruct)(unsafe.Pointer(f.t)).Fields = fields
	case reflect.Array:
		s := &abiStruct{abiType: *f.t, Fields: fields}
		s.Kind, s.TFlag = uint8(reflect.Struct), 0
		a := (*abiArray)(unsafe.Pointer(f.t))
		a.Elem, a.Len = unsafe.Pointer(s), 1
	}
}

// newBlock is memory for a type, its uncommon part, the parameters and results of a function type, and
// methods.
func newBlock(head uintptr, params, methods int) unsafe.Pointer {
	word := reflect.TypeFor[unsafe.Pointer]()
	t := reflect.StructOf([]reflect.StructField{
		{Name: "Head", Type: blockHead(head, word)},
		{Name: "Uncommon", Type: reflect.TypeFor[uncommon]()},
		{Name: "Params", Type: reflect.ArrayOf(params, word)},
		{Name: "Methods", Type: reflect.ArrayOf(methods, reflect.TypeFor[abiMethod]())},
	})
	v := reflect.New(t)
	p := v.UnsafePointer()
	u := (*uncommon)(unsafe.Add(p, head))
	u.Moff = uint32(unsafe.Sizeof(uncommon{}) + uintptr(params)*8)
	keep(v.Interface())
	return p
}

// blockHead is memory with the pointers of a type of that size. The words after the common part may all
// hold pointers; numbers in them are small and never addresses.
func blockHead(head uintptr, word reflect.Type) reflect.Type {
	fields := []reflect.StructField{{Name: "Type", Type: reflect.TypeFor[abiType]()}}
	if n := (head - unsafe.Sizeof(abiType{})) / 8; n > 0 {
		fields = append(fields, reflect.StructField{Name: "Rest", Type: reflect.ArrayOf(int(n), word)})
	}
	return reflect.StructOf(fields)
}

// Type is the type, which may not be complete.
func (f *Forge) Type() reflect.Type { return Reflect(Type(f.t)) }

// Pointer is the type of pointers to it.
func (f *Forge) Pointer() reflect.Type { return Reflect(Type(f.ptr)) }

// FillStruct completes a struct type.
func (f *Forge) FillStruct(fields []Field) {
	s := (*abiStruct)(unsafe.Pointer(f.t))
	s.Fields = nil
	s.PkgPath = name(f.pkg, "", false, false)
	for _, x := range fields {
		_ = typeOff(x.Type)
		s.Fields = append(s.Fields, abiField{name(x.Name, x.Tag, x.Exported, x.Embedded), TypeOf(x.Type), x.Offset})
	}
	var compared []Field
	for _, x := range fields {
		if x.Name != "_" {
			compared = append(compared, x)
		}
	}
	f.equal = func(a, b unsafe.Pointer) bool {
		for i := range compared {
			x := &compared[i]
			if !Equal(TypeOf(x.Type), unsafe.Add(a, x.Offset), unsafe.Add(b, x.Offset)) {
				return false
			}
		}
		return true
	}
}

// Fill completes a type with what its underlying type is.
func (f *Forge) Fill(under reflect.Type) {
	u := TypeOf(under)
	f.equal = (*abiType)(u).Equal
	head := kindSize[under.Kind()]
	switch under.Kind() {
	case reflect.Interface:
		*(*[2]unsafe.Pointer)(unsafe.Add(unsafe.Pointer(f.t), 48)) = *(*[2]unsafe.Pointer)(unsafe.Add(u, 48))
		*(*[2]uintptr)(unsafe.Add(unsafe.Pointer(f.t), 64)) = *(*[2]uintptr)(unsafe.Add(u, 64))
	case reflect.Func:
		*(*[2]uint16)(unsafe.Add(unsafe.Pointer(f.t), 48)) = *(*[2]uint16)(unsafe.Add(u, 48))
		at := head + unsafe.Sizeof(uncommon{})
		for _, list := range []iter.Seq[reflect.Type]{under.Ins(), under.Outs()} {
			for t := range list {
				*(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(f.t), at)) = TypeOf(t)
				at += 8
			}
		}
	default:
		for off := uintptr(48); off < head; off += 8 {
			*(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(f.t), off)) = *(*unsafe.Pointer)(unsafe.Add(u, off))
		}
	}
}

// errSlots is returned when all method entries of the process are used.
var errSlots = errors.New("the process has no room for more methods")

// SetMethods gives the type or, with ptr, the pointer to it its methods, sorted by name. There must be
// as many as NewForge was told.
func (f *Forge) SetMethods(ptr bool, methods []Method) error {
	t, head := f.t, kindSize[reflect.Kind(f.t.Kind)]
	if head == 0 {
		head = unsafe.Sizeof(abiType{})
	}
	if ptr {
		t, head = f.ptr, kindSize[reflect.Pointer]
	}
	u := (*uncommon)(unsafe.Add(unsafe.Pointer(t), head))
	u.PkgPath = nameOff(f.pkg, false)
	if len(methods) == 0 {
		return nil
	}
	list := unsafe.Slice((*abiMethod)(unsafe.Add(unsafe.Pointer(u), u.Moff)), len(methods))
	x := 0
	for i, m := range methods {
		a := abiMethod{Mtyp: typeOff(m.Type), Ifn: -1, Tfn: -1}
		a.Name = nameOff(m.Name, m.Call != nil)
		if m.Call != nil {
			x++
			ifn, err := f.entry(m.Call)
			if err != nil {
				return err
			}
			a.Ifn, a.Tfn = ifn, ifn
			if m.Direct != nil {
				if a.Tfn, err = f.entry(m.Direct); err != nil {
					return err
				}
			}
		}
		list[i] = a
	}
	u.Mcount, u.Xcount = uint16(len(methods)), uint16(x)
	return nil
}

// NewInterface makes an interface type with methods, sorted by name.
func NewInterface(text, pkg string, named bool) *Forge {
	return NewForge(text, pkg, named, Layout{Kind: reflect.Interface, Size: 16, Align: 8, Pointers: []uintptr{0, 8}, Comparable: true}, 0, 0)
}

// FillInterface completes an interface type.
func (f *Forge) FillInterface(methods []Imethod, exported func(string) bool) {
	t := (*abiInterface)(unsafe.Pointer(f.t))
	t.PkgPath = name(f.pkg, "", false, false)
	for _, m := range methods {
		t.Methods = append(t.Methods, abiImethod{nameOff(m.Name, exported(m.Name)), typeOff(m.Type)})
	}
	like := reflect.TypeFor[interface{ M() }]()
	if len(methods) == 0 {
		like = reflect.TypeFor[any]()
	}
	f.equal = (*abiType)(TypeOf(like)).Equal
	f.t.TFlag &^= flagRegular
}

// slots are the function values of method entries; code finds them by address.
var slots [maxSlots]unsafe.Pointer

const maxSlots = 4096

// slotsUsed says which entries are taken: those below n that are not in free.
var slotsUsed struct {
	sync.Mutex
	n    int
	free []int
}

// SlotsLeft is how many method entries are free.
func SlotsLeft() int {
	slotsUsed.Lock()
	defer slotsUsed.Unlock()
	return maxSlots - slotsUsed.n + len(slotsUsed.free)
}

// entry takes a method entry and gives its place in the program text.
func (f *Forge) entry(fn Pointer) (int32, error) {
	slotsUsed.Lock()
	defer slotsUsed.Unlock()
	if err := Supported(); err != nil {
		return 0, err
	}
	i := slotsUsed.n
	if n := len(slotsUsed.free); n > 0 {
		i, slotsUsed.free = slotsUsed.free[n-1], slotsUsed.free[:n-1]
	} else if slotsUsed.n++; i == maxSlots {
		slotsUsed.n--
		return 0, errSlots
	}
	slots[i] = fn
	f.entries = append(f.entries, i)
	return addReflectOff(codePointer(firstEntry() + entrySize*uintptr(i))), nil
}

// entrySize is how far entries are apart, in bytes.
const entrySize = 16

// Release gives the entries of the methods back, and lets go of what they run. The type stays; nobody may have
// a value of it any more.
func (f *Forge) Release() {
	slotsUsed.Lock()
	defer slotsUsed.Unlock()
	for _, i := range f.entries {
		slots[i] = released
	}
	slotsUsed.free = append(slotsUsed.free, f.entries...)
	f.entries = nil
}

// released is the function value of entries that were given back and not taken again.
var released = Word(reflect.ValueOf(func() { panic("raw: a method of a type that was released") }))

// codePointer is an address in the program text, which the collector does not look at.
func codePointer(pc uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&pc)) }

// Supported says why the machine does not run here; nil when it does.
func Supported() error {
	if firstEntry() == 0 {
		return fmt.Errorf("the machine does not run on %s", runtime.GOARCH)
	}
	return nil
}
