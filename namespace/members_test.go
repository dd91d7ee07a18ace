package namespace_test

import (
	"slices"
	"testing"

	ns "farm/namespace"
	"farm/namespace/internal/item"
)

func TestNames(t *testing.T) {
	it := items(t,
		item.Decl{Kind: 1, Source: "type Base struct{ id int }"},
		item.Decl{Kind: 1, Source: "type T struct { Base; Next *T; label string }"},
		item.Decl{Kind: 3, Source: "func (t *T) Show() string { return t.label }"},
		item.Decl{Kind: 2, Source: "func f(n int) *T { return nil }"})
	it["d/T.Show"] = item.Decl{Kind: 3, Ordinal: 3, Source: "func (t *T) Show() string { return t.label }"}.Encode()
	delete(it, "d/t")
	it["i/str"] = item.Import("strings")
	it["v/x"] = item.Var{Type: "T"}.Encode()
	it["v/n"] = item.Var{Type: "map[string]*T"}.Encode()
	names, err := ns.NewNames(it)
	if err != nil {
		t.Fatal(err)
	}
	top := names.Top()
	slices.Sort(top)
	if want := []string{"Base", "T", "f", "fmt", "n", "str", "x"}; !slices.Equal(top, want) {
		t.Errorf("top %v, want %v", top, want)
	}
	for path, want := range map[string][]string{
		"x":      {"Base", "Next", "Show", "id", "label"},
		"x.Next": {"Base", "Next", "Show", "id", "label"},
		"T":      {"Show"}, // a method expression
		"n":      nil,
		"nope":   nil,
		"x.nope": nil,
		"":       nil,
	} {
		if got := names.Members(path); !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", path, got, want)
		}
	}
	fmt, str := names.Members("fmt"), names.Members("str")
	if !slices.Contains(fmt, "Println") || slices.Contains(fmt, "Scan") || !slices.Contains(str, "ToUpper") {
		t.Errorf("fmt has %v, strings %v", fmt, str)
	}
	for path, want := range map[string]string{
		"n": "var n map[string]*T", "f": "func f(n int) *T", "T": "type T struct{Base; Next *T; label string}", "x.Next.label": "field label string",
		"str": `package strings "strings"`, "str.ToUpper": "func strings.ToUpper(s string) string", "fmt.Scan": "", "nope": "", "len": "builtin len",
	} {
		if got := names.Describe(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if _, err := ns.NewNames(ns.Items{"v/x": {9, 9}}); err == nil {
		t.Error("a corrupt item is read")
	}
}
