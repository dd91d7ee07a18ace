package live
import ("testing";"fmt")
func TestDbg(t *testing.T) {
 b := newBare(t)
 _ = b
 old := dbg
 dbg = func(v any) { fmt.Printf("    %T %+v\n", v, v) }
 defer func(){dbg=old}()
 for _, s := range []string{`import ("errors"; "fmt")
type E struct{ N int }
func (e E) Error() string { return fmt.Sprint("E", e.N) }
type E2 struct{ N, M int }
func (e E2) Error() string { return fmt.Sprint("E2", e.N) }
type P struct{ N int }
func (e *P) Error() string { return fmt.Sprint("P", e.N) }
type S string
func (e S) Error() string { return "S" + string(e) }
func f() error { return fmt.Errorf("w: %w", E{7}) }
func f2() error { var e error = E{7}; return fmt.Errorf("w: %w", e) }
func f3() error { return fmt.Errorf("w: %w", &P{7}) }
func f4() error { var e error = E2{7, 8}; return fmt.Errorf("w: %w", e) }
func g() error { return E{8} }
func g2() error { e := E{8}; return e }
func g3() error { return &P{8} }
func g4() error { return E2{8, 9} }
func g5() error { return S("x") }
`,
"err := f()\nvar e E\nok := errors.As(err, &e)\nfmt.Sprint(ok, e.N, err.Error())",
"err = f2()\nok = errors.As(err, &e)\nfmt.Sprint(ok, e.N, err.Error())",
"err = f4()\nvar e2 E2\nok = errors.As(err, &e2)\nfmt.Sprint(ok, e2.N, err.Error())",
"var p *P\nerr = f3()\nok = errors.As(err, &p)\nfmt.Sprint(ok, p, err.Error())",
"err = g()\nok = errors.As(err, &e)\nfmt.Sprint(ok, e.N)",
"err = g2()\nok = errors.As(err, &e)\nfmt.Sprint(ok, e.N)",
"err = g3()\nok = errors.As(err, &p)\nfmt.Sprint(ok, p.N)",
"err = g4()\nok = errors.As(err, &e2)\nfmt.Sprint(ok, e2.N)",
"err = g5()\nvar s S\nok = errors.As(err, &s)\nfmt.Sprint(ok, s)",
"_, ok = err.(S)\nok", "err = g3()\n_, ok = err.(*P)\nok", "err = g4()\n_, ok = err.(E2)\nok", "_, ok = err.(*P)\nok", "r := \"\"\nswitch x := err.(type) { case *P: r = \"P\"; case E2: r = fmt.Sprint(\"E2\", x.M); default: r = \"?\" }\nr"} {
 fmt.Println(s[:min(30,len(s))])
 fmt.Println(b.run(t, s))
 }
}
