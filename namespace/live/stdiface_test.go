package live

import (
	"encoding/json"
	"strings"
	"testing"

	ns "farm/namespace"
)

const stdTypes = `import ("errors"; "fmt"; "io"; "sort")
type Fault struct{ Code int; cause error }
func (f *Fault) Error() string { if f.cause != nil { return fmt.Sprint("fault ", f.Code, ": ", f.cause.Error()) }; return fmt.Sprint("fault ", f.Code) }
func (f *Fault) Unwrap() error { return f.cause }
type Oops string
func (o Oops) Error() string { return "oops " + string(o) }
type Nothing struct{}
func (Nothing) Error() string { return "nothing" }
type Deg float64
func (d Deg) String() string { return fmt.Sprintf("%.0f deg", float64(d)) }
type Words []string
func (w Words) Len() int { return len(w) }
func (w Words) Less(i, j int) bool { return w[i] < w[j] }
func (w Words) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
type Tap struct{ n int }
func (t *Tap) Read(b []byte) (int, error) { if t.n == 0 { return 0, io.EOF }; t.n--; b[0] = 'x'; return 1, nil }
var _ = errors.New`

// TestTypesInStandardInterfaces proves that values of the namespace's types in interfaces of the standard
// library are kept, with what they share, and work after a restore in another process as before.
func TestTypesInStandardInterfaces(t *testing.T) { onEngines(t, typesInStandardInterfaces) }

func typesInStandardInterfaces(t *testing.T, engine string) {
	o := startOthers(t)
	for _, x := range []struct {
		name  string
		cells []string
		want  string // of the last
	}{
		{"pointer", []string{"f := &Fault{Code: 1}\nvar e error = f", "f.Code = 2", "e.Error()"}, `"fault 2"`},
		{"pointer got back", []string{"var e error = &Fault{Code: 1}", "f, ok := e.(*Fault)\nf.Code++", "fmt.Sprint(ok, e)"}, `"true fault 2"`},
		{"string", []string{"var e error = Oops(\"a\")", "e.Error()"}, `"oops a"`},
		{"empty struct", []string{"var e error = Nothing{}", "e.Error()"}, `"nothing"`},
		{"many", []string{"es := []error{&Fault{Code: 1}, Oops(\"b\"), nil, io.EOF, errors.New(\"c\")}", "s := \"\"\nfor _, e := range es { if e != nil { s += e.Error() + \";\" } }\ns + fmt.Sprint(es[2] == nil, es[3] == io.EOF)"}, `"fault 1;oops b;EOF;c;true true"`},
		{"in a loop", []string{"es := []error{}\nfor i := range 3 { es = append(es, &Fault{Code: i}) }", "es = append(es, Oops(\"z\"))", "s := \"\"\nfor _, e := range es { s += e.Error() + \";\" }\ns"}, `"fault 0;fault 1;fault 2;oops z;"`},
		{"map", []string{"m := map[string]error{\"a\": Oops(\"x\"), \"b\": nil}", "m[\"c\"] = &Fault{Code: 3}", "fmt.Sprint(len(m), m[\"a\"], m[\"b\"] == nil, m[\"c\"])"}, `"3 oops x true fault 3"`},
		{"shared", []string{"f := &Fault{Code: 1}\nes := []error{f, f}\nvar a any = f", "es[0].(*Fault).Code = 7", "fmt.Sprint(es[1], f.Code, a.(*Fault).Code)"}, `"fault 7 7 7"`},
		{"field", []string{"f := &Fault{Code: 1, cause: &Fault{Code: 2, cause: io.EOF}}", "fmt.Sprint(f, errors.Is(f, io.EOF))"}, `"fault 1: fault 2: EOF true"`},
		{"wrapped", []string{"f := &Fault{Code: 4}\nw := fmt.Errorf(\"w: %w\", f)", "f.Code = 5", "var g *Fault\nok := errors.As(w, &g)\nfmt.Sprint(ok, g == f, g.Code)"}, `"true true 5"`},
		{"joined", []string{"var f error = &Fault{Code: 6}\nj := errors.Join(errors.New(\"a\"), f)", "fmt.Sprint(j, errors.Is(j, f))"}, `"a\nfault 6 true"`},
		{"printed", []string{"f, o := &Fault{Code: 1}, Oops(\"p\")", "fmt.Sprint(f, o, []any{f, o}[1]) + fmt.Sprintf(\"|%v|%s\", f, o)"}, `"fault 1 oops p oops p|fault 1|oops p"`},
		{"stringer", []string{"var s fmt.Stringer = Deg(20)", "s = Deg(30)", "s.String()"}, `"30 deg"`},
		{"sort.Interface", []string{"w := Words{\"b\", \"a\"}\nvar s sort.Interface = w", "sort.Sort(s)", "w[0] + w[1]"}, `"ab"`},
		{"io.Reader", []string{"tap := &Tap{3}\nvar r io.Reader = tap", "b, err := io.ReadAll(r)", "fmt.Sprint(string(b), err, tap.n)"}, `"xxx<nil> 0"`},
		{"sentinels", []string{"a, b := errors.New(\"s\"), errors.New(\"s\")\nc := a", "fmt.Sprint(a == b, a == c, errors.Is(fmt.Errorf(\"%w\", c), a))"}, `"false true true"`},
		{"conflicting use", []string{"var e error = &Fault{Code: 1}\nvar s fmt.Stringer = Deg(1)\nes := []error{e, e}", "es[0] = Oops(\"q\")", "fmt.Sprint(es[0], es[1], s)"}, `"oops q fault 1 1 deg"`},
	} {
		t.Run(x.name, func(t *testing.T) {
			warm := newOn(t, engine, Options{})
			items := warm.Items().Clone()
			for i, src := range append([]string{stdTypes}, x.cells...) {
				w := mustRun(t, warm, src)
				c := o.run(t, engine, items, src)
				if c.Err != "" || string(c.JSON) != string(w.JSON) {
					t.Fatalf("cell %d:\n%s\nwarm %s, cold %s, %s", i, src, w.JSON, c.JSON, c.Err)
				}
				sameItems(t, warm.Items(), c.After)
				c.Delta.Apply(items)
				say := x.want
				if o, ok := gosSpaces[x.name]; ok && engine == ns.EngineSSA {
					say = o
				}
				var got, want any
				_, _ = json.Unmarshal(w.JSON, &got), json.Unmarshal([]byte(say), &want)
				if i == len(x.cells) && got != want {
					t.Errorf("%s, want %s", w.JSON, x.want)
				}
			}
		})
	}
}

// gosSpaces is what fmt.Sprint gives where the interpreter puts a space too many.
var gosSpaces = map[string]string{
	"map":             `"3oops xtrue fault 3"`,
	"conflicting use": `"oops qfault 1 1 deg"`,
	"printed":         `"fault 1oops poops p|fault 1|oops p"`,
}

// TestUntoldTypesInStandardInterfaces proves that what the interpreter does not tell is refused by its
// types, and changes nothing.
func TestUntoldTypesInStandardInterfaces(t *testing.T) {
	for src, says := range map[string]string{
		"type Other struct{ C int; e error }\nfunc (o *Other) Error() string { return \"\" }\nvar e error = &Other{}": "*Fault or *Other",
		"type Val struct{ S []int }\nfunc (v Val) Error() string { return \"\" }\nvar e error = Val{}":                "a struct of type Val",
		"type Val struct{ S string }\nfunc (v Val) Error() string { return \"\" }\nes := []error{nil, Val{}}":         "Oops or Val",
	} {
		c := newOn(t, ns.EngineYaegi, Options{})
		mustRun(t, c, stdTypes)
		before := c.Items().Clone()
		_, err := run(t, c, src)
		if !unkept(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", src, err)
		}
		sameItems(t, before, c.Items())
	}
}
