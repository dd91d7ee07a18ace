package differ

import (
	"fmt"
	"strings"
)

// expr is an expression of a type that is not a constant, with d levels below it.
func (g *gen) expr(t *typ, d int) string {
	if d <= 0 || g.one(4) {
		return g.leaf(t)
	}
	if g.one(6) {
		if s := g.through(t, d); s != "" {
			return s
		}
	}
	switch t.kind {
	case kInt:
		return g.intExpr(t, d)
	case kFloat:
		return g.floatExpr(t, d)
	case kComplex:
		return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), pick(g.choices, "+", "-", "*"), g.expr(t, d-1))
	case kString:
		return g.stringExpr(d)
	case kBool:
		return g.boolExpr(d)
	case kSlice:
		return g.sliceExpr(t, d)
	case kStruct, kArray, kMap:
		return g.literal(t, d)
	}
	return g.leaf(t)
}

// places are the expressions for what is in variables of a type: variables, fields, elements.
func (g *gen) places(t *typ, settable bool) (list []string) {
	for _, v := range g.vars {
		if g.pure && !strings.HasPrefix(v.name, "g") || settable && !v.set {
			continue
		}
		if v.t.text == t.text {
			list = append(list, v.name)
		}
		switch v.t.kind {
		case kStruct:
			for _, f := range v.t.fields {
				if f.t.text == t.text {
					list = append(list, v.name+"."+f.name)
				}
			}
		case kPointer:
			for _, f := range v.t.elem.fields {
				if f.t.text == t.text && g.risky() {
					list = append(list, v.name+"."+f.name)
				}
			}
		case kArray:
			if v.t.elem.text == t.text {
				list = append(list, fmt.Sprintf("%s[id(%d)]", v.name, g.n(v.t.n)))
			}
		case kSlice:
			if v.t.elem.text == t.text && g.risky() {
				list = append(list, fmt.Sprintf("%s[id(%d)]", v.name, g.n(4)))
			}
		case kMap:
			if v.t.elem.text == t.text && !settable {
				list = append(list, v.name+"["+g.key(v.t.key)+"]")
			}
		}
	}
	return list
}

// key is a key of a map without any variable in it.
func (g *gen) key(t *typ) string {
	if t.kind == kStruct {
		return t.text + "{}"
	}
	return "id(" + g.constant(t) + ")"
}

// maxNest is how many leaves may have other values within them, one in the other.
const maxNest = 6

func (g *gen) leaf(t *typ) string {
	if g.nest++; g.nest > maxNest {
		g.nest--
		return g.smallest(t)
	}
	defer func() { g.nest-- }()
	if list := g.places(t, false); len(list) > 0 && !g.one(4) {
		return pick(g.choices, list...)
	}
	switch t.kind {
	case kInt, kFloat, kString, kBool, kComplex:
		return "id(" + g.constant(t) + ")"
	case kPointer:
		if g.one(4) {
			return "(" + t.text + ")(nil)"
		}
		return "&" + g.literal(t.elem, 1)
	case kFunc:
		return g.closure(t, false)
	case kAny:
		if g.one(6) {
			return "any(nil)"
		}
		return "any(" + g.expr(g.anyType(1), 1) + ")"
	case kIface:
		s := pick(g.choices, g.structs...)
		if s.byPtr || g.one(3) {
			return t.text + "(&" + g.literal(s, 1) + ")"
		}
		return t.text + "(" + g.literal(s, 1) + ")"
	case kSlice, kMap:
		if g.one(5) {
			return t.text + "(nil)"
		}
	}
	return g.literal(t, 1)
}

// smallest is a value with no other in it.
func (g *gen) smallest(t *typ) string {
	switch t.kind {
	case kInt, kFloat, kString, kBool, kComplex:
		return "id(" + g.constant(t) + ")"
	case kPointer, kAny, kIface, kSlice, kMap:
		return "(" + t.text + ")(nil)"
	case kFunc:
		return fmt.Sprintf("func(%s) %s { return %s }", blanks(t.params), t.elem.text, g.smallest(t.elem))
	}
	return t.text + "{}"
}

func (g *gen) constant(t *typ) string {
	switch t.kind {
	case kInt:
		v := int64(pick(g.choices, 0, 1, 2, 3, 5, 7, 10, 63, 100, 127))
		switch {
		case g.one(6) && t.signed:
			v = -v
		case g.one(12) && t.signed:
			v = -1 << (t.bits - 1)
		case g.one(12) && t.bits < 64:
			v = 1<<t.bits - 1
			if t.signed {
				v = 1<<(t.bits-1) - 1
			}
		case g.one(12):
			v = 1<<(t.bits-2) + 1
		}
		return fmt.Sprintf("%s(%d)", t.text, v)
	case kFloat:
		return t.text + "(" + pick(g.choices, "0", "1", "0.5", "-2.25", "1e10", "3", "1e-3", "16777217", "0.1") + ")"
	case kComplex:
		return pick(g.choices, "(1 + 2i)", "(0.5 - 1i)", "(3 + 0i)")
	case kBool:
		return pick(g.choices, "true", "false")
	}
	return pick(g.choices, `""`, `"a"`, `"bc"`, `"héllo"`, `"x\xffy"`, `"0123456789"`, `"日本"`)
}

// literal is a composite literal.
func (g *gen) literal(t *typ, d int) string {
	var parts []string
	switch t.kind {
	case kStruct:
		for _, f := range t.fields {
			if !g.one(4) {
				parts = append(parts, f.name+": "+g.expr(f.t, d-1))
			}
		}
	case kArray:
		for range g.n(t.n + 1) {
			parts = append(parts, g.expr(t.elem, d-1))
		}
	case kSlice:
		for range g.n(5) {
			parts = append(parts, g.expr(t.elem, d-1))
		}
	case kMap:
		for range g.n(4) {
			parts = append(parts, g.expr(t.key, d-1)+": "+g.expr(t.elem, d-1))
		}
	default:
		return g.leaf(t)
	}
	return t.text + "{" + strings.Join(parts, ", ") + "}"
}

// closure is a function literal, which may change what it has captured.
func (g *gen) closure(t *typ, changes bool) string {
	n, inside := len(g.vars), g.inside
	defer func() { g.vars, g.inside = g.vars[:n], inside }()
	g.inside = true
	var list []string
	for _, p := range t.params {
		name := g.name("g")
		list = append(list, name+" "+p.text)
		g.vars = append(g.vars, variable{name, p, true})
	}
	body := ""
	if changes {
		g.risk = false
		body = g.assignment() + "; "
	}
	body += "return " + g.expr(t.elem, 2)
	return fmt.Sprintf("func(%s) %s { %s }", strings.Join(list, ", "), t.elem.text, body)
}

// through is a value by way of something general: a call, an assertion, a generic function.
func (g *gen) through(t *typ, d int) string {
	switch g.n(8) {
	case 0:
		return fmt.Sprintf("choose(%s, %s, %s)", g.expr(tBool, d-1), g.expr(t, d-1), g.expr(t, d-1))
	case 1:
		return fmt.Sprintf("any(%s).(%s)", g.expr(t, d-1), t.text)
	case 2:
		return fmt.Sprintf("at(%s, %s)", g.expr(sliceOf(t), d-1), g.expr(tInt, d-1))
	case 3:
		return fmt.Sprintf("func() %s { x, ok := any(%s).(%s); _ = ok; return x }()", t.text, g.expr(g.anyType(1), d-1), t.text)
	case 4, 5:
		for _, v := range g.vars {
			if v.t.kind == kFunc && v.t.elem.text == t.text && !g.pure && !g.inside {
				return fmt.Sprintf("choose(%s != nil, %s, func(%s) %s { return %s })(%s)", v.name, v.name, blanks(v.t.params), t.text, g.leaf(t), g.args(v.t.params, d-1))
			}
		}
	case 6:
		return fmt.Sprintf("func() (zz %s) { defer func() { if recover() != nil { zz = %s } }(); zz = %s; return zz }()", t.text, g.leaf(t), g.expr(t, d-1))
	case 7:
		return fmt.Sprintf("(&stack[%s]{}).push(%s).push(%s).items[id(%d)]", t.text, g.expr(t, d-1), g.expr(t, d-1), g.n(2))
	}
	return ""
}

func blanks(params []*typ) string {
	var list []string
	for _, p := range params {
		list = append(list, "_ "+p.text)
	}
	return strings.Join(list, ", ")
}

func (g *gen) args(params []*typ, d int) string {
	var list []string
	for _, p := range params {
		list = append(list, g.expr(p, d))
	}
	return strings.Join(list, ", ")
}

func (g *gen) intExpr(t *typ, d int) string {
	switch g.n(14) {
	case 0, 1, 2, 3:
		o := pick(g.choices, "+", "-", "*", "&", "|", "^", "&^")
		if g.one(3) {
			return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), o, g.constant(t))
		}
		return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), o, g.expr(t, d-1))
	case 4:
		o := pick(g.choices, "/", "%")
		if g.one(2) {
			return fmt.Sprintf("(%s %s %s(%d))", g.expr(t, d-1), o, t.text, pick(g.choices, 1, 2, 3, 7, 8, 10, 100))
		}
		if g.risky() {
			return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), o, g.expr(t, d-1))
		}
		return fmt.Sprintf("(%s %s (%s | 1))", g.expr(t, d-1), o, g.expr(t, d-1))
	case 5:
		o := pick(g.choices, "<<", ">>")
		if g.one(2) {
			return fmt.Sprintf("(%s %s %d)", g.expr(t, d-1), o, pick(g.choices, 0, 1, 3, 7, 8, 31, 32, 63, 64))
		}
		if g.risky() {
			return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), o, g.expr(pick(g.choices, ints...), d-1))
		}
		return fmt.Sprintf("(%s %s (uint(%s) %% 70))", g.expr(t, d-1), o, g.expr(tInt, d-1))
	case 6:
		return fmt.Sprintf("(%s%s)", pick(g.choices, "-", "^"), g.expr(t, d-1))
	case 7, 8:
		return fmt.Sprintf("%s(%s)", t.text, g.expr(pick(g.choices, ints...), d-1))
	case 9:
		return fmt.Sprintf("%s(len(%s))", t.text, g.expr(pick(g.choices, tString, sliceOf(g.simple()), mapOf(tInt, tBool)), d-1))
	case 10:
		return fmt.Sprintf("%s(%s, %s)", pick(g.choices, "min", "max", "sum"), g.expr(t, d-1), g.expr(t, d-1))
	case 11:
		return fmt.Sprintf("%s(toInt(float64(%s)))", t.text, g.expr(pick(g.choices, floats...), d-1))
	case 12:
		if g.pure || g.inside {
			break
		}
		if g.risky() {
			return fmt.Sprintf("%s(%s.M(%s))", t.text, g.expr(g.iface, d-1), g.expr(tInt, d-1))
		}
		return fmt.Sprintf("%s(callM(%s, %s))", t.text, g.expr(g.iface, d-1), g.expr(tInt, d-1))
	case 13:
		if !g.risky() {
			break
		}
		return fmt.Sprintf("%s(%s[%s])", t.text, g.expr(tString, d-1), g.expr(tInt, d-1))
	}
	for _, n := range g.named {
		if n == t {
			return g.expr(t, d-1) + ".Twice()"
		}
	}
	return g.leaf(t)
}

func (g *gen) floatExpr(t *typ, d int) string {
	switch g.n(5) {
	case 0:
		return fmt.Sprintf("%s(%s)", t.text, g.expr(pick(g.choices, ints...), d-1))
	case 1:
		return fmt.Sprintf("%s(%s)", t.text, g.expr(pick(g.choices, floats...), d-1))
	case 2:
		return fmt.Sprintf("%s(%s, %s)", pick(g.choices, "min", "max", "sum"), g.expr(t, d-1), g.expr(t, d-1))
	}
	return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), pick(g.choices, "+", "-", "*", "/"), g.expr(t, d-1))
}

func (g *gen) stringExpr(d int) string {
	switch g.n(8) {
	case 0, 1:
		if g.one(3) {
			return fmt.Sprintf("short(%s + %s)", g.expr(tString, d-1), g.constant(tString))
		}
		return fmt.Sprintf("cat(%s, %s)", g.expr(tString, d-1), g.expr(tString, d-1))
	case 2:
		return fmt.Sprintf("part(%s, %s, %s)", g.expr(tString, d-1), g.expr(tInt, d-1), g.expr(tInt, d-1))
	case 3:
		if g.risky() {
			return fmt.Sprintf("%s[%s:]", g.expr(tString, d-1), g.expr(tInt, d-1))
		}
		return g.leaf(tString)
	case 4:
		return fmt.Sprintf("string(rune(%s%%1000))", g.expr(tInt, d-1))
	case 5:
		t := g.anyType(1)
		if !t.shown() {
			t = tInt
		}
		return fmt.Sprintf("short(fmt.Sprint(%s))", g.expr(t, d-1))
	case 6:
		return fmt.Sprintf("strconv.Itoa(%s)", g.expr(tInt, d-1))
	}
	return fmt.Sprintf("string(%s(%s))", pick(g.choices, "[]byte", "[]rune"), g.expr(tString, d-1))
}

func (g *gen) boolExpr(d int) string {
	switch g.n(6) {
	case 0:
		return fmt.Sprintf("(%s %s %s)", g.expr(tBool, d-1), pick(g.choices, "&&", "||", "==", "!="), g.expr(tBool, d-1))
	case 1:
		return "!" + g.expr(tBool, d-1)
	case 2:
		t := g.anyType(2)
		if t.comparable() && t.kind != kPointer && (!t.has(kAny) && !t.has(kIface) || g.risky()) {
			return fmt.Sprintf("(%s %s %s)", g.operand(t, d-1), pick(g.choices, "==", "!="), g.operand(t, d-1))
		}
	case 3:
		if !g.risky() {
			break
		}
		return fmt.Sprintf("(%s == any(%s))", g.expr(tAny, d-1), g.expr(g.anyType(2), d-1))
	}
	t := pick(g.choices, pick(g.choices, ints...), tInt, tString, pick(g.choices, floats...))
	o := pick(g.choices, "<", "<=", ">", ">=", "==", "!=")
	if g.one(3) {
		return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), o, g.constant(t))
	}
	return fmt.Sprintf("(%s %s %s)", g.expr(t, d-1), o, g.expr(t, d-1))
}

// operand is an expression that may stand in a condition.
func (g *gen) operand(t *typ, d int) string { return "id[" + t.text + "](" + g.expr(t, d) + ")" }

func (g *gen) sliceExpr(t *typ, d int) string {
	switch g.n(6) {
	case 0:
		return fmt.Sprintf("plus(%s, %s)", g.expr(t, d-1), g.expr(t.elem, d-1))
	case 1:
		return fmt.Sprintf("join(%s, %s)", g.expr(t, d-1), g.expr(t, d-1))
	case 2:
		return fmt.Sprintf("make(%s, uint(%s)%%5, id(6))", t.text, g.expr(tInt, d-1))
	case 3:
		if g.risky() {
			return fmt.Sprintf("%s[%s:]", g.expr(t, d-1), g.expr(tInt, d-1))
		}
	case 4:
		from := g.simple()
		return fmt.Sprintf("mapped(%s, %s)", g.expr(sliceOf(from), d-1), g.closure(funcOf(t.elem, from), false))
	}
	return g.literal(t, d)
}
