package live

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	ns "farm/namespace"
)

// program uses what a whole program has and a plain cell has not.
const program = `package main

import (
	"fmt"
	_ "sort"
)

var total = first + len(names)
var first = seed()
var names, more = []string{"a", "b"}, "c"
var _ fmt.Stringer = ID(0)
var later int

type ID int

func (i ID) String() string { return fmt.Sprintf("ID%d", int(i)) }

func seed() int { return 40 }

func init() { total *= 2 }
func _()    {}

func main() {
	fmt.Println(total, names, more, ID(7))
	later += total
	if later > 0 {
		return
	}
	fmt.Println("not reached")
}

func init() { total++ }
`

func TestProgram(t *testing.T) { onEngines(t, programHold) }

func programHold(t *testing.T, engine string) {
	var out bytes.Buffer
	c := newOn(t, engine, Options{Stdout: &out})
	if _, err := c.Run(t.Context(), ns.Run{Source: program}); err != nil {
		t.Fatal(err)
	}
	const printed = "85 [a b] c ID7\n"
	if out.String() != printed {
		t.Fatalf("printed %q, want %q", out.String(), printed)
	}
	for name, want := range map[string]string{"total": "85", "later": "85", "names": `["a","b"]`, "first": "40"} {
		got, _, err := ns.GetJSON(c.Items(), name)
		if err != nil || string(got) != want {
			t.Errorf("%s is %s (%v), want %s", name, got, err, want)
		}
	}
	// Again it begins anew, as a process does: variables without a value are zero.
	if _, err := c.Run(t.Context(), ns.Run{Source: program}); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := ns.GetJSON(c.Items(), "later"); string(got) != "85" {
		t.Errorf("later is %s after the second run, want 85", got)
	}
	// A cell goes on with what the program left, also in another process.
	other := newOn(t, engine, Options{Stdout: &out})
	if err := other.Restore(c.Items()); err != nil {
		t.Fatal(err)
	}
	res, err := other.Run(t.Context(), ns.Run{Source: "ID(total + seed()).String()"})
	if err != nil || string(res.JSON) != `"ID125"` {
		t.Errorf("got %s (%v), want ID125", res.JSON, err)
	}
}

func TestProgramErrors(t *testing.T) { onEngines(t, programErrors) }

func programErrors(t *testing.T, engine string) {
	for _, c := range []struct{ name, src, want string }{
		{"type error", "package main\n\nfunc main() {\n\tvar x int = \"s\"\n\t_ = x\n}\n", "4:14: cannot use"},
		{"unused variable", "package main\nfunc main() {\n\tx := 1\n}\n", "3:2: declared and not used: x"},
		{"unused import", "package main\nimport \"fmt\"\nfunc main() {}\n", "2:8: \"fmt\" imported and not used"},
		{"statement outside", "package main\nfunc main() {}\nx := 1\n", "func main is not supported in a cell"},
		{"package", "package main\nimport \"os/exec\"\nfunc main() { exec.Command(\"ls\") }\n", "2:8: package \"os/exec\" is not allowed"},
		{"initialisation cycle", "package main\nvar a = b\nvar b = a\nfunc main() {}\n", "2:5: initialization cycle"},
		{"main called", "package main\nfunc main() { main() }\n", "2:15: main as a function to call is not allowed"},
		{"panic in main", "package main\nvar n = 1\nfunc main() { n = 2; panic(\"boom\") }\n", "panic: boom"},
		{"no main", "package main\nvar n int = \"s\"\n", "2:13: cannot use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := New(Options{})
			_, err := ctx.Run(t.Context(), ns.Run{Source: c.src, Engine: engine})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			if len(ctx.Items()) != 0 {
				t.Errorf("the namespace has changed: %v", ctx.Items())
			}
			if na, ok := errors.AsType[*ns.NotAllowedError](err); ok && na.Internal {
				t.Errorf("%v is internal", err)
			}
		})
	}
}
