package raw

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sort"
	"strings"
	"testing"
	"text/template"
)

// echo is a body that answers with its receiver's address and first argument.
type body func(f *Func, in []reflect.Value) []reflect.Value

func (b body) CallFromGo(f *Func, in []reflect.Value) []reflect.Value { return b(f, in) }

var word = reflect.TypeFor[Pointer]()

// person makes a type like
//
//	type Person struct { Name string "json:\"name\""; age int; Next *Person; By map[string]Person }
//
// with methods String and Error of the value and Rename of the pointer.
func person(t *testing.T) *Forge {
	t.Helper()
	f := NewForge("main.Person", "main", true, Layout{Kind: reflect.Struct, Size: 40, Align: 8, Pointers: []uintptr{0, 24, 32}}, 2, 3)
	str := NewFuncMaker(reflect.FuncOf([]reflect.Type{word}, []reflect.Type{reflect.TypeFor[string]()}, false))
	text := func(prefix string) Pointer {
		return str.Make(body(func(_ *Func, in []reflect.Value) []reflect.Value {
			p := in[0].UnsafePointer()
			return []reflect.Value{reflect.ValueOf(prefix + *At[string](p, 0) + fmt.Sprint(*At[int](p, 16)))}
		}), nil, nil).Value()
	}
	rename := NewFuncMaker(reflect.FuncOf([]reflect.Type{word, reflect.TypeFor[string](), reflect.TypeFor[float64]()}, nil, false))
	ren := rename.Make(body(func(_ *Func, in []reflect.Value) []reflect.Value {
		*At[string](in[0].UnsafePointer(), 0) = in[1].String() + fmt.Sprint(in[2].Float())
		return nil
	}), nil, nil).Value()
	st := reflect.TypeFor[func() string]()
	ms := []Method{{Name: "Error", Type: st, Call: text("error ")}, {Name: "String", Type: st, Call: text("I am ")}}
	if err := f.SetMethods(false, ms); err != nil {
		t.Fatal(err)
	}
	pm := []Method{ms[0], {Name: "Rename", Type: reflect.TypeFor[func(string, float64)](), Call: ren}, ms[1]}
	if err := f.SetMethods(true, pm); err != nil {
		t.Fatal(err)
	}
	f.FillStruct([]Field{
		{Name: "Name", Tag: `json:"name"`, Type: reflect.TypeFor[string](), Exported: true},
		{Name: "age", Type: reflect.TypeFor[int](), Offset: 16},
		{Name: "Next", Type: f.Pointer(), Offset: 24, Exported: true},
		{Name: "By", Type: reflect.MapOf(reflect.TypeFor[string](), f.Type()), Offset: 32, Exported: true},
	})
	return f
}

func TestForgedStruct(t *testing.T) {
	f := person(t)
	rt := f.Type()
	p := New(TypeOf(rt))
	*At[string](p, 0), *At[int](p, 16) = "Ann", 5
	v := Value(TypeOf(rt), p)
	if got := fmt.Sprintf("%T %v %T %d", v.Interface(), []any{v.Interface()}, v.Addr().Interface(), rt.NumField()); got != "main.Person [error Ann5] *main.Person 4" {
		t.Error(got)
	}
	if rt.Name() != "Person" || rt.PkgPath() != "main" || rt.String() != "main.Person" || reflect.PointerTo(rt) != f.Pointer() {
		t.Error(rt.Name(), rt.PkgPath(), rt)
	}
	v.Addr().Interface().(interface{ Rename(string, float64) }).Rename("Bob", 1.5)
	if got := v.Addr().Interface().(fmt.Stringer).String(); got != "I am Bob1.55" {
		t.Error(got)
	}
	target := reflect.New(rt)
	if !errors.As(fmt.Errorf("x: %w", v.Interface().(error)), target.Interface()) || target.Elem().Field(0).String() != "Bob1.5" {
		t.Error("errors.As does not find the type")
	}
	v.Field(3).Set(reflect.MakeMap(rt.Field(3).Type))
	for i := range 100 {
		v.Field(3).SetMapIndex(reflect.ValueOf(fmt.Sprint(i)), v)
	}
	runtime.GC()
	if v.Field(3).MapIndex(reflect.ValueOf("77")).Field(3).Len() == 0 {
		t.Error("the map of itself is lost")
	}
	v.Field(3).SetZero()
	if b, err := json.Marshal(v.Interface()); err != nil || string(b) != `{"name":"Bob1.5","Next":null,"By":null}` {
		t.Error(string(b), err)
	}
	var out strings.Builder
	tm := template.Must(template.New("").Parse("{{.String}} {{.Name}}"))
	if err := tm.Execute(&out, v.Interface()); err != nil || out.String() != "I am Bob1.55 Bob1.5" {
		t.Error(out.String(), err)
	}
	if rt.Implements(reflect.TypeFor[sort.Interface]()) || !rt.Implements(reflect.TypeFor[error]()) {
		t.Error("Implements")
	}
}

func TestCollectorFollowsForgedTypes(t *testing.T) {
	rt := person(t).Type()
	list := reflect.MakeSlice(reflect.SliceOf(rt), 1000, 1000)
	for i := range 1000 {
		list.Index(i).Field(0).SetString(strings.Repeat("x", 100+i%7))
		list.Index(i).Field(2).Set(reflect.New(rt))
		list.Index(i).Field(2).Elem().Field(0).SetString(fmt.Sprint(i))
	}
	for range 3 {
		runtime.GC()
		_ = make([]byte, 1<<20)
	}
	for i := range 1000 {
		if list.Index(i).Field(2).Elem().Field(0).String() != fmt.Sprint(i) {
			t.Fatal("lost")
		}
	}
}

func TestForgedInterface(t *testing.T) {
	f := NewInterface("main.Namer", "main", true)
	f.FillInterface([]Imethod{{"String", reflect.TypeFor[func() string]()}, {"hidden", reflect.TypeFor[func()]()}}, func(s string) bool { return s == "String" })
	if f.Type().NumMethod() != 2 || f.Type().Name() != "Namer" || f.Type().Method(1).PkgPath != "main" {
		t.Error(f.Type().Method(1))
	}
	if reflect.TypeFor[fmt.Stringer]().Implements(f.Type()) {
		t.Error("Stringer has not hidden")
	}
	g := NewForge("main.T", "main", true, Layout{Kind: reflect.Int, Size: 8, Align: 8, Comparable: true, Regular: true}, 2, 2)
	str := NewFuncMaker(reflect.FuncOf([]reflect.Type{word}, []reflect.Type{reflect.TypeFor[string]()}, false))
	call := str.Make(body(func(*Func, []reflect.Value) []reflect.Value { return []reflect.Value{reflect.ValueOf("T!")} }), nil, nil)
	for _, ptr := range []bool{false, true} {
		if err := g.SetMethods(ptr, []Method{{Name: "String", Type: reflect.TypeFor[func() string](), Call: call.Value()}, {Name: "hidden", Type: reflect.TypeFor[func()]()}}); err != nil {
			t.Fatal(err)
		}
	}
	g.Fill(reflect.TypeFor[int]())
	if !g.Type().Implements(f.Type()) {
		t.Error("T implements Namer")
	}
	v := reflect.New(f.Type()).Elem()
	v.Set(reflect.New(g.Type()).Elem())
	if got := fmt.Sprint(v.Interface()); got != "T!" {
		t.Error(got)
	}
	m := reflect.MakeMap(reflect.MapOf(f.Type(), g.Type()))
	m.SetMapIndex(v, reflect.New(g.Type()).Elem())
	if !m.MapIndex(v).IsValid() {
		t.Error("no such key")
	}
	if tab := Tab(TypeOf(f.Type()), TypeOf(g.Type())); TabType(tab) != TypeOf(g.Type()) {
		t.Error("Tab")
	}
}

func TestFuncIsAFunction(t *testing.T) {
	m := NewFuncMaker(reflect.TypeFor[func(int, string) string]())
	f := m.Make(body(func(f *Func, in []reflect.Value) []reflect.Value {
		return []reflect.Value{reflect.ValueOf(fmt.Sprint(in[1], in[0], f.Nums[0]))}
	}), nil, []uint64{7})
	p := f.Value()
	fn := *At[func(int, string) string](Pointer(&p), 0)
	runtime.GC()
	if got := fn(3, "x"); got != "x3 7" && got != "x 3 7" {
		t.Error(got)
	}
	if FuncOf(p) != f {
		t.Error("not recognised")
	}
	g := strings.ToUpper
	if FuncOf(*At[Pointer](Pointer(&g), 0)) != nil {
		t.Error("ToUpper is none of the machine's")
	}
}

// TestCollectorInACall collects while compiled code is on the stack below a function value and a method.
func TestCollectorInACall(t *testing.T) {
	m := NewFuncMaker(reflect.TypeFor[func(*string, []int) *string]())
	f := m.Make(body(func(_ *Func, in []reflect.Value) []reflect.Value {
		runtime.GC()
		return in[:1]
	}), nil, nil)
	p := f.Value()
	fn := *At[func(*string, []int) *string](Pointer(&p), 0)
	s := strings.Repeat("x", 10)
	if got := fn(&s, []int{1}); *got != s {
		t.Error(*got)
	}
	g := NewForge("main.G", "main", true, Layout{Kind: reflect.Int, Size: 8, Align: 8, Comparable: true, Regular: true}, 1, 1)
	str := NewFuncMaker(reflect.FuncOf([]reflect.Type{word}, []reflect.Type{reflect.TypeFor[string]()}, false))
	call := str.Make(body(func(*Func, []reflect.Value) []reflect.Value {
		runtime.GC()
		return []reflect.Value{reflect.ValueOf("G!")}
	}), nil, nil)
	for _, ptr := range []bool{false, true} {
		if err := g.SetMethods(ptr, []Method{{Name: "String", Type: reflect.TypeFor[func() string](), Call: call.Value()}}); err != nil {
			t.Fatal(err)
		}
	}
	g.Fill(reflect.TypeFor[int]())
	if got := fmt.Sprint(reflect.New(g.Type()).Elem().Interface()); got != "G!" {
		t.Error(got)
	}
}

// TestForgedKinds makes a named type with a method of each kind and looks at it through package reflect:
// what follows the common part of a type differs from kind to kind.
func TestForgedKinds(t *testing.T) {
	type pair struct{ p *int }
	for _, c := range []struct {
		under    reflect.Type
		pointers []uintptr
		check    func(reflect.Type) bool
	}{
		{reflect.TypeFor[uint8](), nil, func(n reflect.Type) bool { return n.Size() == 1 }},
		{reflect.TypeFor[string](), []uintptr{0}, func(n reflect.Type) bool { return n.Size() == 16 }},
		{reflect.TypeFor[[]string](), []uintptr{0}, func(n reflect.Type) bool { return n.Elem().Kind() == reflect.String }},
		{reflect.TypeFor[[3]int32](), nil, func(n reflect.Type) bool { return n.Len() == 3 && n.Elem().Kind() == reflect.Int32 }},
		{reflect.TypeFor[[2]*int](), []uintptr{0, 8}, func(n reflect.Type) bool { return n.Len() == 2 && n.Comparable() }},
		{reflect.TypeFor[map[string]pair](), []uintptr{0}, func(n reflect.Type) bool {
			m := reflect.MakeMap(n)
			for i := range 100 {
				m.SetMapIndex(reflect.ValueOf(fmt.Sprint(i)), reflect.ValueOf(pair{&i}))
			}
			runtime.GC()
			return m.Len() == 100 && *m.MapIndex(reflect.ValueOf("77")).Interface().(pair).p == 77
		}},
		{reflect.TypeFor[chan<- int](), []uintptr{0}, func(n reflect.Type) bool { return n.ChanDir() == reflect.SendDir && n.Elem().Kind() == reflect.Int }},
		{reflect.TypeFor[func(int, ...string) (bool, error)](), []uintptr{0}, func(n reflect.Type) bool {
			return n.NumIn() == 2 && n.In(1) == reflect.TypeFor[[]string]() && n.IsVariadic() && n.Out(1) == reflect.TypeFor[error]()
		}},
	} {
		t.Run(c.under.String(), func(t *testing.T) {
			l := Layout{Kind: c.under.Kind(), Size: c.under.Size(), Align: uintptr(c.under.Align()), Pointers: c.pointers, Comparable: c.under.Comparable()}
			if c.under.Kind() == reflect.Func {
				l.Params = c.under.NumIn() + c.under.NumOut()
			}
			f := NewForge("main.Named", "main", true, l, 1, 1)
			mk := NewFuncMaker(reflect.FuncOf([]reflect.Type{word}, []reflect.Type{reflect.TypeFor[string]()}, false))
			call := mk.Make(body(func(*Func, []reflect.Value) []reflect.Value { return []reflect.Value{reflect.ValueOf("called")} }), nil, nil).Value()
			for _, ptr := range []bool{false, true} {
				if err := f.SetMethods(ptr, []Method{{Name: "String", Type: reflect.TypeFor[func() string](), Call: call}}); err != nil {
					t.Fatal(err)
				}
			}
			f.Fill(c.under)
			n := f.Type()
			if n.Kind() != c.under.Kind() || n.Name() != "Named" || n.NumMethod() != 1 || !n.ConvertibleTo(c.under) || !c.check(n) {
				t.Errorf("%v: %d methods", n, n.NumMethod())
			}
			if got := fmt.Sprint(reflect.New(n).Elem().Interface(), reflect.New(n).Interface()); got != "called called" && got != "calledcalled" {
				t.Error(got)
			}
		})
	}
}
