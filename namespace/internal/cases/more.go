package cases

import (
	_ "embed"
	"slices"
	"strconv"
	"strings"
)

// more.txt has cases as people read them: "## name", then cells with "---" between. The first cell
// declares, the others are statements; "= a, b" at a cell's end asks for fmt.Sprint(a, b).
//
//go:embed more.txt
var moreText string

// more.want has what compiled Go says: for each case, a line for each cell that asks, quoted. The test of
// this package writes it with -update and holds it against the Go compiler.
//
//go:embed more.want
var moreWant string

// gonum.txt and gonum.want are the same for gonum, which only the machine has.
//
//go:embed gonum.txt
var gonumText string

//go:embed gonum.want
var gonumWant string

// wrong are the cells that the interpreter is known to get wrong, by case and number of the cell, each with its
// cause. Tests demand that they are wrong: a case that became right is to be taken from the list.
var wrong = map[string]map[int]string{
	"panic again in a defer":            {1: "a panic of a deferred call during a panic is not given to the deferred calls that are left"},
	"errors that are pointers compared": {1: "comparing errors of types of the namespace panics"},
	"interface holds copies":            {1: "a value assigned to a variable of an interface with methods is copied at the end of the cell only"},
}

// Refused are the cells that the interpreter refuses, and what the error says of it.
var Refused = map[string]map[int]string{
	"tags and zero structs":                    {1: "shows it the unexported field"},
	"fmt of composite values":                  {1: "does not show fmt the methods inside it"},
	"stringers in containers":                  {1: "does not show fmt the methods inside it"},
	"state machine of functions":               {0: "refers to itself without a struct in between", 1: "undefined"},
	"package variables in order of dependence": {0: "undefined: b", 1: "undefined"}, // a cell is run from top to bottom

	"function literals of statements":                        {1: "a func value", 2: "undefined", 3: "undefined", 4: "undefined"},
	"function literals that share what they have captured":   {1: "a func value", 2: "undefined", 3: "a func value", 4: "undefined", 5: "a func value", 6: "undefined"},
	"function literals that call themselves and make others": {1: "a func value", 2: "a func value", 3: "a func value", 4: "undefined"},
}

// written is a case of more.txt.
type written struct {
	name  string
	cells []string
	asks  []bool // the cell ends with a question
}

func parse(text string) (out []written) {
	for part := range strings.SplitSeq("\n"+text, "\n## ") {
		name, body, ok := strings.Cut(part, "\n")
		if !ok || name == "" {
			continue
		}
		w := written{name: name}
		for src := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n---\n") {
			before, question, asks := cutLast("\n"+src, "\n= ")
			if asks {
				src = strings.TrimPrefix(before+"\nfmt.Sprint("+question+")", "\n")
			}
			w.cells, w.asks = append(w.cells, src), append(w.asks, asks)
		}
		out = append(out, w)
	}
	return out
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// goSays is what Go says of the cells of More, the ones that the interpreter refuses included.
var goSays = map[string][]string{}

// More are cases over the whole language and what people use of the library.
var More = ofText(moreText, moreWant)

// Gonum are cases of package gonum: its functions, its types in variables, and its calls of user code.
var Gonum = ofText(gonumText, gonumWant)

// ofText are cases as they are written, with what Go says of them.
func ofText(cells, answers string) (out []Case) {
	want := strings.Split(answers, "\n")
	for _, w := range parse(cells) {
		c := Case{Name: w.name, Cells: w.cells}
		at := slices.Index(want, "## "+w.name)
		for i, asks := range w.asks {
			text := ""
			if asks && at >= 0 && at+1 < len(want) {
				at++
				text, _ = strconv.Unquote(want[at]) // one that is stale fails the test of this package
			}
			says := text
			if Refused[w.name][i] != "" {
				text = "ERR:" + Refused[w.name][i]
			}
			c.Want, goSays[c.Name] = append(c.Want, text), append(goSays[c.Name], says)
		}
		out = append(out, c)
	}
	return out
}
