package typeinfo_test

import (
	"bytes"
	"errors"
	"go/types"
	"os"
	"slices"
	"testing"

	"farm/namespace/typeinfo"
	"farm/namespace/typeinfo/gen/blob"
	"farm/namespace/typeinfo/packages"
)

// TestBlobsAreFresh fails when the data is not what this Go version, go.mod and the lists of packages give.
func TestBlobsAreFresh(t *testing.T) {
	for file, list := range map[string][]string{"std.bin": packages.Allowed, "gonum.bin": packages.Gonum} {
		want, err := blob.Make(list)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go generate ./namespace/typeinfo", file)
		}
	}
}

func TestImport(t *testing.T) {
	im := typeinfo.New()
	list := packages.Allowed
	if typeinfo.HasGonum() {
		list = append(slices.Clone(list), packages.Gonum...)
	}
	for _, p := range list {
		pkg, err := im.Import(p)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		if !pkg.Complete() || len(pkg.Scope().Names()) == 0 {
			t.Errorf("%s is empty", p)
		}
	}
	for _, p := range []string{"os", "os/exec", "net", "net/http", "reflect", "syscall", "runtime", "log", "internal/abi", "C", "",
		"gonum.org/v1/gonum/stat/card", "gonum.org/v1/gonum/graph", "gonum.org/v1/gonum"} {
		if _, err := im.Import(p); !errors.Is(err, typeinfo.ErrNotAllowed) {
			t.Errorf("import of %q: %v", p, err)
		}
	}
}

// TestOneUniverse proves that packages share their types: time.Duration in context is that of time.
func TestOneUniverse(t *testing.T) {
	im := typeinfo.New()
	ctx, err := im.Import("context")
	if err != nil {
		t.Fatal(err)
	}
	tm, err := im.Import("time")
	if err != nil {
		t.Fatal(err)
	}
	with := ctx.Scope().Lookup("WithTimeout").(*types.Func).Signature().Params().At(1).Type()
	if !types.Identical(with, tm.Scope().Lookup("Duration").Type()) {
		t.Errorf("two types %v", with)
	}
}

func TestLacks(t *testing.T) {
	for _, x := range []struct {
		path, name string
		want       bool
	}{{"strings", "Lines", true}, {"strings", "Repeat", false}, {"sync", "OnceValue", true}, {"math", "Pi", false}} {
		if got := typeinfo.Lacks(x.path, x.name); got != x.want {
			t.Errorf("%s.%s: %v", x.path, x.name, got)
		}
	}
}

// TestGonumSharesTypes proves that what a package of gonum shows of others is theirs: the random source of a
// distribution, and the matrix of a fit.
func TestGonumSharesTypes(t *testing.T) {
	if !typeinfo.HasGonum() {
		t.Skip("built without gonum")
	}
	im := typeinfo.New()
	member := func(path, name string) types.Object {
		t.Helper()
		p, err := im.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		return p.Scope().Lookup(name)
	}
	src, _, _ := types.LookupFieldOrMethod(member("gonum.org/v1/gonum/stat/distuv", "Normal").Type(), true, nil, "Src")
	if !types.Identical(src.Type(), member("math/rand/v2", "Source").Type()) {
		t.Errorf("two types %v", src.Type())
	}
	cov := member("gonum.org/v1/gonum/stat", "CovarianceMatrix").(*types.Func).Signature().Params().At(1).Type()
	if !types.Identical(cov, member("gonum.org/v1/gonum/mat", "Matrix").Type()) {
		t.Errorf("two types %v", cov)
	}
}
