package value

import (
	"bytes"
	"container/list"
	"container/ring"
	"context"
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// opaque is the encoding of a standard library type that is not written field
// by field. The functions get the address of a value of the type.
type opaque struct {
	check  func(p unsafe.Pointer) string // reason to refuse this value, or ""; nil: never refused
	encode func(p unsafe.Pointer) ([]byte, error)
	decode func(p unsafe.Pointer, b []byte) error
	// text gives the JSON form of the encoding, without a live value.
	text func(b []byte) (any, error)
	// parse sets a value from its JSON.
	parse func(p unsafe.Pointer, j []byte) error
}

// structural are the standard types written field by field although fields are
// private: their whole state is in Go memory that the codec knows how to keep.
var structural = map[reflect.Type]bool{
	reflect.TypeFor[bytes.Buffer](): true, reflect.TypeFor[bytes.Reader](): true, reflect.TypeFor[strings.Reader](): true,
	reflect.TypeFor[list.List](): true, reflect.TypeFor[list.Element](): true, reflect.TypeFor[ring.Ring](): true,
	reflect.TypeFor[atomic.Bool](): true, reflect.TypeFor[atomic.Int32](): true, reflect.TypeFor[atomic.Int64](): true,
	reflect.TypeFor[atomic.Uint32](): true, reflect.TypeFor[atomic.Uint64](): true, reflect.TypeFor[atomic.Uintptr](): true,
	reflect.TypeFor[atomic.Value](): true, reflect.TypeFor[sync.Once](): true, reflect.TypeFor[rand.Rand](): true,
	reflect.TypeFor[json.SyntaxError](): true,
}

// privateErrors are the private types behind the error constructors of the
// standard library; they are written field by field so that errors keep their
// identity and what they wrap.
var privateErrors = []error{errors.New(""), fmt.Errorf("%w", io.EOF), fmt.Errorf("%w%w", io.EOF, io.EOF), errors.Join(io.EOF)}

// stdTypes are the named standard types that interfaces may hold: those that a
// restoring process can find by name.
var stdTypes = func() map[string]reflect.Type {
	m := map[string]reflect.Type{}
	add := func(ts ...reflect.Type) {
		for _, t := range ts {
			m[t.PkgPath()+"."+t.Name()] = t
		}
	}
	for t := range structural {
		add(t)
	}
	for _, err := range privateErrors {
		t := reflect.TypeOf(err).Elem()
		structural[t] = true
		add(t)
	}
	add(reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[time.Month](),
		reflect.TypeFor[time.Weekday](), reflect.TypeFor[time.ParseError](), reflect.TypeFor[time.Location](),
		reflect.TypeFor[big.Int](), reflect.TypeFor[big.Float](), reflect.TypeFor[big.Rat](), reflect.TypeFor[big.Word](),
		reflect.TypeFor[big.Accuracy](), reflect.TypeFor[big.RoundingMode](), reflect.TypeFor[big.ErrNaN](),
		reflect.TypeFor[rand.PCG](), reflect.TypeFor[rand.ChaCha8](), reflect.TypeFor[regexp.Regexp](),
		reflect.TypeFor[strings.Builder](), reflect.TypeFor[sync.Mutex](), reflect.TypeFor[sync.RWMutex](),
		reflect.TypeFor[sync.WaitGroup](), reflect.TypeFor[json.Number](), reflect.TypeFor[json.RawMessage](),
		reflect.TypeFor[json.SyntaxError](), reflect.TypeFor[json.Delim](), reflect.TypeFor[sort.IntSlice](),
		reflect.TypeFor[sort.StringSlice](), reflect.TypeFor[sort.Float64Slice](), reflect.TypeFor[strconv.NumError](),
		reflect.TypeFor[csv.ParseError](), reflect.TypeFor[base64.CorruptInputError](), reflect.TypeOf(context.DeadlineExceeded),
		reflect.TypeFor[fmt.Stringer](), reflect.TypeFor[sort.Interface](), reflect.TypeFor[rand.Source]())
	return m
}()

// wellKnown are pointers to variables of the standard library. They are written
// by name, so that err == io.EOF still holds after a restore.
var wellKnown, wellKnownByName = func() (map[unsafe.Pointer]string, map[string]reflect.Value) {
	names := map[string]any{
		"io.EOF": io.EOF, "io.ErrUnexpectedEOF": io.ErrUnexpectedEOF, "io.ErrShortWrite": io.ErrShortWrite,
		"io.ErrShortBuffer": io.ErrShortBuffer, "io.ErrClosedPipe": io.ErrClosedPipe, "io.ErrNoProgress": io.ErrNoProgress,
		"context.Canceled": context.Canceled, "strconv.ErrRange": strconv.ErrRange, "strconv.ErrSyntax": strconv.ErrSyntax,
		"bytes.ErrTooLarge": bytes.ErrTooLarge, "errors.ErrUnsupported": errors.ErrUnsupported,
		"csv.ErrFieldCount": csv.ErrFieldCount, "csv.ErrQuote": csv.ErrQuote, "csv.ErrBareQuote": csv.ErrBareQuote,
		"time.UTC": time.UTC, "time.Local": time.Local,
	}
	byAddr, byName := map[unsafe.Pointer]string{}, map[string]reflect.Value{}
	for n, v := range names {
		byAddr[reflect.ValueOf(v).UnsafePointer()] = n
		byName[n] = reflect.ValueOf(v)
	}
	return byAddr, byName
}()

// stdRoots are the first elements of standard import paths that user packages
// do not share.
var stdRoots = func() map[string]bool {
	m := map[string]bool{}
	for s := range strings.FieldsSeq(`archive bufio builtin bytes cmp compress container context crypto database debug
		embed encoding errors expvar flag fmt go hash html image index internal io iter log maps math mime net os path
		plugin reflect regexp runtime slices sort strconv strings structs sync syscall testing text time unicode unique
		unsafe vendor weak`) {
		m[s] = true
	}
	return m
}()

func isStd(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return stdRoots[first]
}

// native decides how a named type of this process is written; false means by
// its parts.
func native(p *plan) bool {
	if !isStd(p.pkg) || p.kind != kStruct || structural[p.rt] {
		return false
	}
	if o := opaques[p.rt]; o != nil {
		p.kind, p.opaque = kOpaque, o
		return true
	}
	if !hasPrivate(p.rt) {
		return false
	}
	if o := marshaled(p.rt); o != nil {
		p.kind, p.opaque = kOpaque, o
		return true
	}
	p.kind, p.reason = kRefused, "a "+p.rt.String()+", which has private state and no binary encoding"
	return true
}

func hasPrivate(rt reflect.Type) bool {
	for i := range rt.NumField() {
		if !rt.Field(i).IsExported() {
			return true
		}
	}
	return false
}

var opaques = map[reflect.Type]*opaque{
	reflect.TypeFor[time.Time](): {
		encode: func(p unsafe.Pointer) ([]byte, error) { return appendTime(nil, *(*time.Time)(p)), nil },
		decode: func(p unsafe.Pointer, b []byte) (err error) {
			*(*time.Time)(p), err = parseTime(b)
			return err
		},
		text: func(b []byte) (any, error) {
			t, err := parseTime(b)
			if err != nil {
				return nil, err
			}
			return t.Format(time.RFC3339Nano), nil
		},
		parse: func(p unsafe.Pointer, j []byte) error { return json.Unmarshal(j, (*time.Time)(p)) },
	},
	reflect.TypeFor[strings.Builder](): {
		encode: func(p unsafe.Pointer) ([]byte, error) { return []byte((*strings.Builder)(p).String()), nil },
		decode: func(p unsafe.Pointer, b []byte) error { setBuilder(p, string(b)); return nil },
		text:   func(b []byte) (any, error) { return string(b), nil },
		parse: func(p unsafe.Pointer, j []byte) error {
			var s string
			if err := json.Unmarshal(j, &s); err != nil {
				return err
			}
			setBuilder(p, s)
			return nil
		},
	},
	reflect.TypeFor[regexp.Regexp](): func() *opaque {
		o := marshaled(reflect.TypeFor[regexp.Regexp]())
		longest, ok := reflect.TypeFor[regexp.Regexp]().FieldByName("longest")
		o.check = func(p unsafe.Pointer) string {
			if !ok || *(*bool)(unsafe.Add(p, longest.Offset)) {
				return "a regexp.Regexp made by CompilePOSIX or Longest, which its text does not tell"
			}
			return ""
		}
		return o
	}(),
	reflect.TypeFor[sync.Mutex]():     idle(reflect.TypeFor[sync.Mutex](), "a locked sync.Mutex"),
	reflect.TypeFor[sync.RWMutex]():   idle(reflect.TypeFor[sync.RWMutex](), "a locked sync.RWMutex"),
	reflect.TypeFor[sync.WaitGroup](): idle(reflect.TypeFor[sync.WaitGroup](), "a sync.WaitGroup in use"),
}

// setBuilder fills a Builder without making it remember its address, which may
// still change.
func setBuilder(p unsafe.Pointer, s string) {
	f, ok := reflect.TypeFor[strings.Builder]().FieldByName("buf")
	*(*strings.Builder)(p) = strings.Builder{}
	if !ok || f.Type != reflect.TypeFor[[]byte]() {
		(*strings.Builder)(p).WriteString(s)
		return
	}
	if s != "" {
		*(*[]byte)(unsafe.Add(p, f.Offset)) = []byte(s)
	}
}

// idle is the encoding of a lock: nothing, and only while nobody uses it.
func idle(rt reflect.Type, reason string) *opaque {
	return &opaque{
		check: func(p unsafe.Pointer) string {
			if inUse(rt, p) {
				return reason
			}
			return ""
		},
		encode: func(unsafe.Pointer) ([]byte, error) { return nil, nil },
		decode: func(p unsafe.Pointer, b []byte) error {
			if len(b) != 0 {
				return errors.New("a lock has no content")
			}
			reflect.NewAt(rt, p).Elem().SetZero()
			return nil
		},
		text:  func([]byte) (any, error) { return map[string]any{}, nil },
		parse: func(unsafe.Pointer, []byte) error { return errors.New("a lock cannot be set") },
	}
}

func inUse(rt reflect.Type, p unsafe.Pointer) bool {
	switch rt {
	case reflect.TypeFor[sync.Mutex]():
		m := (*sync.Mutex)(p)
		if !m.TryLock() {
			return true
		}
		m.Unlock()
		return false
	case reflect.TypeFor[sync.RWMutex]():
		m := (*sync.RWMutex)(p)
		if !m.TryLock() {
			return true
		}
		m.Unlock()
		return false
	}
	return !reflect.NewAt(rt, p).Elem().IsZero()
}

type gobEncoder interface{ GobEncode() ([]byte, error) }
type gobDecoder interface{ GobDecode([]byte) error }

// marshaled gives the encoding a type brings with it, or nil.
func marshaled(rt reflect.Type) *opaque {
	pt := reflect.PointerTo(rt)
	at := func(p unsafe.Pointer) any { return reflect.NewAt(rt, p).Interface() }
	o := &opaque{
		text:  func(b []byte) (any, error) { return textOf(rt, b) },
		parse: func(p unsafe.Pointer, j []byte) error { return json.Unmarshal(j, at(p)) },
	}
	has := func(ts ...reflect.Type) bool {
		for _, t := range ts {
			if !pt.Implements(t) {
				return false
			}
		}
		return true
	}
	switch {
	case has(reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.BinaryUnmarshaler]()):
		o.encode = func(p unsafe.Pointer) ([]byte, error) { return at(p).(encoding.BinaryMarshaler).MarshalBinary() }
		o.decode = func(p unsafe.Pointer, b []byte) error {
			return at(p).(encoding.BinaryUnmarshaler).UnmarshalBinary(b)
		}
	case has(reflect.TypeFor[gobEncoder](), reflect.TypeFor[gobDecoder]()):
		o.encode = func(p unsafe.Pointer) ([]byte, error) { return at(p).(gobEncoder).GobEncode() }
		o.decode = func(p unsafe.Pointer, b []byte) error { return at(p).(gobDecoder).GobDecode(b) }
	case has(reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()):
		o.encode = func(p unsafe.Pointer) ([]byte, error) { return at(p).(encoding.TextMarshaler).MarshalText() }
		o.decode = func(p unsafe.Pointer, b []byte) error { return at(p).(encoding.TextUnmarshaler).UnmarshalText(b) }
	default:
		return nil
	}
	decode := o.decode
	o.decode = func(p unsafe.Pointer, b []byte) (err error) {
		defer func() { // decoders of the standard library have panicked on hostile bytes before
			if r := recover(); r != nil {
				err = fmt.Errorf("%v: %v", rt, r)
			}
		}()
		return decode(p, append([]byte(nil), b...))
	}
	return o
}

// textOf gives the JSON form of an encoded value of a type that is written in
// its own encoding.
func textOf(rt reflect.Type, b []byte) (any, error) {
	v := reflect.New(rt)
	if err := marshaled(rt).decode(v.UnsafePointer(), b); err != nil {
		return nil, err
	}
	if j, ok := v.Interface().(json.Marshaler); ok {
		raw, err := j.MarshalJSON()
		return json.RawMessage(raw), err
	}
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := t.MarshalText()
		return string(text), err
	}
	return b, nil
}

// Zones of encoded times.
const (
	zoneUTC   = 0
	zoneLocal = 1
	zoneNamed = 2 // by its IANA name
	zoneFixed = 3 // of time.FixedZone
)

// maxZoneName bounds the name of a time zone in encoded times, in bytes.
const maxZoneName = 255

// appendTime writes seconds since 1970 (8 bytes big endian), nanoseconds (4
// bytes), the kind of zone, and for all but UTC the offset in seconds east (4
// bytes), the abbreviation and the zone's name. The monotonic reading is not
// kept: it means nothing in another process.
func appendTime(b []byte, t time.Time) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(t.Unix()))
	b = binary.BigEndian.AppendUint32(b, uint32(t.Nanosecond()))
	loc := t.Location()
	abbr, off := t.Zone()
	switch {
	case loc == time.UTC:
		return append(b, zoneUTC)
	case loc == time.Local:
		b = append(b, zoneLocal)
	case loc.String() == abbr && isFixed(t):
		b = append(b, zoneFixed)
	default:
		b = append(b, zoneNamed)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(int32(off)))
	b = appendString(b, abbr)
	return appendString(b, loc.String())
}

// isFixed tells whether a time's zone looks the same all year round and long
// ago, as those of time.FixedZone do.
func isFixed(t time.Time) bool {
	abbr, off := t.Zone()
	for _, u := range [...]time.Time{t.AddDate(0, 6, 0), t.AddDate(0, -6, 0), time.Unix(-1<<32, 0).In(t.Location()), time.Unix(1<<30, 0).In(t.Location())} {
		if a, o := u.Zone(); a != abbr || o != off {
			return false
		}
	}
	return true
}

func parseTime(b []byte) (time.Time, error) {
	bad := errors.New("not an encoded time")
	if len(b) < 13 {
		return time.Time{}, bad
	}
	nano := binary.BigEndian.Uint32(b[8:])
	if nano >= 1e9 {
		return time.Time{}, bad
	}
	t := time.Unix(int64(binary.BigEndian.Uint64(b)), int64(nano))
	zone, b := b[12], b[13:]
	if zone == zoneUTC {
		if len(b) != 0 {
			return time.Time{}, bad
		}
		return t.UTC(), nil
	}
	if zone > zoneFixed || len(b) < 4 {
		return time.Time{}, bad
	}
	off := int(int32(binary.BigEndian.Uint32(b)))
	abbr, b, ok := cutString(b[4:])
	if !ok || len(abbr) > maxZoneName {
		return time.Time{}, bad
	}
	name, b, ok := cutString(b)
	if !ok || len(b) != 0 || len(name) > maxZoneName {
		return time.Time{}, bad
	}
	loc, err := location(t, zone, off, abbr, name)
	if err != nil {
		return time.Time{}, err
	}
	return t.In(loc), nil
}

// zones remembers the zones made here, so that equal zones stay one *Location
// and times compare equal with ==.
var zones = struct {
	sync.Mutex
	m map[string]*time.Location
}{m: map[string]*time.Location{}}

// maxZones bounds the remembered zones, in zones.
const maxZones = 4096

func location(t time.Time, zone byte, off int, abbr, name string) (*time.Location, error) {
	if zone == zoneLocal {
		if a, o := t.Local().Zone(); a == abbr && o == off {
			return time.Local, nil
		}
		name = abbr // this machine is elsewhere: keep what the clock showed
		zone = zoneFixed
	}
	key := fmt.Sprintf("%d %d %s", zone, off, name)
	if zone == zoneNamed {
		key = name
	}
	zones.Lock()
	defer zones.Unlock()
	if loc := zones.m[key]; loc != nil {
		return loc, nil
	}
	loc := time.FixedZone(name, off)
	if zone == zoneNamed {
		var err error
		if loc, err = time.LoadLocation(name); err != nil {
			return nil, fmt.Errorf("time zone %q is not known on this machine", name)
		}
		if a, o := t.In(loc).Zone(); a != abbr || o != off {
			return nil, fmt.Errorf("time zone %q is another one on this machine", name)
		}
	}
	if len(zones.m) >= maxZones {
		clear(zones.m)
	}
	zones.m[key] = loc
	return loc, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func cutString(b []byte) (string, []byte, bool) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return "", nil, false
	}
	b = b[k:]
	return string(b[:n]), b[n:], true
}
