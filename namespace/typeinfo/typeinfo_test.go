package typeinfo_test

import (
	"bytes"
	"errors"
	"go/types"
	"os"
	"testing"

	"farm/namespace/typeinfo"
	"farm/namespace/typeinfo/gen/blob"
	"farm/namespace/typeinfo/packages"
)

// TestBlobIsFresh fails when std.bin is not what this Go version and the list of packages give.
func TestBlobIsFresh(t *testing.T) {
	want, err := blob.Make()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("std.bin")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("std.bin is stale: run go generate ./namespace/typeinfo")
	}
}

func TestImport(t *testing.T) {
	im := typeinfo.New()
	for _, p := range packages.Allowed {
		pkg, err := im.Import(p)
		if err != nil {
			t.Errorf("%s: %v", p, err)
			continue
		}
		if !pkg.Complete() || len(pkg.Scope().Names()) == 0 {
			t.Errorf("%s is empty", p)
		}
	}
	for _, p := range []string{"os", "os/exec", "net", "net/http", "reflect", "syscall", "runtime", "log", "internal/abi", "C", ""} {
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
