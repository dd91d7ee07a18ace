package value

import (
	"bytes"
	"errors"
	"go/token"
	"go/types"
	"reflect"
	"slices"
	"testing"
)

// mainPkg stands for the package of a namespace: types of this test package are
// declared in it, so that the codec must go by static types.
var mainPkg = types.NewPackage("main", "main")

// typesOf makes static types from reflect types.
type typesOf struct {
	named map[reflect.Type]*types.Named
	pkgs  map[string]*types.Package
}

var static = typesOf{named: map[reflect.Type]*types.Named{}, pkgs: map[string]*types.Package{}}

func (m typesOf) of(rt reflect.Type) types.Type {
	if rt == errorType {
		return types.Universe.Lookup("error").Type()
	}
	if rt.PkgPath() == "" {
		return m.shape(rt)
	}
	if n := m.named[rt]; n != nil {
		return n
	}
	pkg := m.pkgs[rt.PkgPath()]
	if pkg == nil {
		pkg = types.NewPackage(rt.PkgPath(), rt.PkgPath())
		m.pkgs[rt.PkgPath()] = pkg
	}
	if rt.PkgPath() == "farm/namespace/value" {
		pkg = mainPkg
	}
	obj := types.NewTypeName(token.NoPos, pkg, rt.Name(), nil)
	n := types.NewNamed(obj, nil, nil)
	pkg.Scope().Insert(obj)
	m.named[rt] = n
	n.SetUnderlying(m.shape(rt))
	return n
}

func (m typesOf) shape(rt reflect.Type) types.Type {
	switch rt.Kind() {
	case reflect.Array:
		return types.NewArray(m.of(rt.Elem()), int64(rt.Len()))
	case reflect.Slice:
		return types.NewSlice(m.of(rt.Elem()))
	case reflect.Pointer:
		return types.NewPointer(m.of(rt.Elem()))
	case reflect.Map:
		return types.NewMap(m.of(rt.Key()), m.of(rt.Elem()))
	case reflect.Chan:
		return types.NewChan(types.SendRecv, m.of(rt.Elem()))
	case reflect.Func:
		return types.NewSignatureType(nil, nil, nil, nil, nil, false)
	case reflect.Interface:
		var ms []*types.Func
		for i := range rt.NumMethod() {
			ms = append(ms, types.NewFunc(token.NoPos, mainPkg, rt.Method(i).Name, types.NewSignatureType(nil, nil, nil, nil, nil, false)))
		}
		return types.NewInterfaceType(ms, nil).Complete()
	case reflect.Struct:
		var fs []*types.Var
		var tags []string
		for i := range rt.NumField() {
			f := rt.Field(i)
			fs = append(fs, types.NewField(token.NoPos, mainPkg, f.Name, m.of(f.Type), f.Anonymous))
			tags = append(tags, string(f.Tag))
		}
		return types.NewStruct(fs, tags)
	}
	for bk, k := range basicKinds {
		if reflectKinds[rt.Kind()] == k {
			return types.Typ[bk]
		}
	}
	panic(rt)
}

// root makes a Root of a pointer to a variable.
func root(name string, ptr any) Root {
	v := reflect.ValueOf(ptr).Elem()
	return Root{Name: name, Type: static.of(v.Type()), Value: v}
}

func mustEncode(t testing.TB, roots ...Root) []Unit {
	t.Helper()
	units, err := Encode(roots, Limits{})
	if err != nil {
		t.Fatalf("Encode: %v", err)
	}
	return units
}

// fresh makes zero variables of the same types.
func fresh(roots []Root) []Root {
	out := slices.Clone(roots)
	for i := range out {
		out[i].Value = reflect.New(out[i].Value.Type()).Elem()
	}
	return out
}

// restore decodes units into fresh variables and checks that encoding these
// again gives the same bytes.
func restore(t testing.TB, units []Unit, roots []Root) []Root {
	t.Helper()
	got := fresh(roots)
	decodeInto(t, units, got)
	again := mustEncode(t, got...)
	if len(again) != len(units) {
		t.Fatalf("%d units became %d", len(units), len(again))
	}
	for i := range again {
		if !slices.Equal(again[i].Names, units[i].Names) || !bytes.Equal(again[i].Data, units[i].Data) {
			t.Fatalf("unit %v changed by a restore:\n%x\n%x", units[i].Names, units[i].Data, again[i].Data)
		}
	}
	return got
}

func decodeInto(t testing.TB, units []Unit, roots []Root) {
	t.Helper()
	for _, u := range units {
		var rs []Root
		for _, n := range u.Names {
			i := slices.IndexFunc(roots, func(r Root) bool { return r.Name == n })
			rs = append(rs, roots[i])
		}
		if err := Decode(u.Data, rs, Limits{}); err != nil {
			t.Fatalf("Decode of %v: %v", u.Names, err)
		}
	}
}

// carry encodes one variable and restores it elsewhere.
func carry[T any](t testing.TB, v T) T {
	t.Helper()
	roots := []Root{root("v", &v)}
	return *restore(t, mustEncode(t, roots...), roots)[0].Value.Addr().Interface().(*T)
}

func unserializable(t testing.TB, err error) *UnserializableError {
	t.Helper()
	var u *UnserializableError
	if !errors.As(err, &u) {
		t.Fatalf("got %v, want an UnserializableError", err)
	}
	return u
}
