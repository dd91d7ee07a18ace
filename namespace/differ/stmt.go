package differ

import (
	"fmt"
	"strings"
)

func (g *gen) stmt() {
	g.begin()
	if g.depth > maxDepth {
		g.simpleStmt()
		return
	}
	switch g.n(20) {
	case 0, 1:
		g.ifStmt()
	case 2, 3, 4:
		g.loop()
	case 5:
		g.switchStmt()
	case 6:
		g.typeSwitch()
	case 7:
		g.tried()
	case 8:
		g.goroutines()
	case 9:
		g.closures()
	case 10:
		g.selectStmt()
	case 11:
		g.iterator()
	default:
		g.simpleStmt()
	}
}

func (g *gen) simpleStmt() {
	g.begin()
	switch g.n(13) {
	case 12:
		g.call()
	case 0, 1, 2, 3:
		g.define()
	case 4, 5, 6:
		g.assign()
	case 7:
		g.swap()
	case 8:
		g.multi()
	case 9:
		g.collections()
	case 10:
		if len(g.loops) > 0 && g.one(2) {
			g.line("if %s { %s }", g.expr(tBool, 2), pick(g.choices, g.loops...))
			return
		}
		g.say()
	default:
		g.say()
	}
}

// call takes the result of a function.
func (g *gen) call() {
	for _, f := range g.funcs {
		if f.two == nil && g.one(2) {
			v := g.name("v")
			g.line("%s := %s(%s)", v, f.name, g.args(f.t.params, 2))
			g.add(v, f.t.elem)
			return
		}
	}
	g.say()
}

func (g *gen) add(name string, t *typ) {
	g.vars = append(g.vars, variable{name, t, true})
	g.line("_ = %s", name)
}

func (g *gen) define() {
	t := g.anyType(3)
	name := g.name("v")
	if g.one(6) {
		g.line("var %s %s", name, t.text)
	} else {
		g.line("var %s %s = %s", name, t.text, g.expr(t, 3))
	}
	g.add(name, t)
}

func (g *gen) say() {
	var shown []string
	for _, v := range g.vars {
		if v.t.shown() {
			shown = append(shown, v.name)
		} else if v.t.kind == kSlice {
			shown = append(shown, "len("+v.name+")") // what append makes of a capacity is the compiler's affair
		}
	}
	t := g.anyType(2)
	if !t.shown() {
		t = g.simple()
	}
	list := []string{g.expr(t, 3)}
	if len(shown) > 0 {
		list = append(list, pick(g.choices, shown...), pick(g.choices, shown...))
	}
	g.line("say(%d, %s)", g.tag(), strings.Join(list, ", "))
}

func (g *gen) assign() {
	if s := g.assignment(); s != "" {
		g.line("%s", s)
	}
}

// assignment changes a variable or a part of one, "" when there is none.
func (g *gen) assignment() string {
	var list []variable
	for _, v := range g.vars {
		if v.set && !(g.pure && !strings.HasPrefix(v.name, "g")) {
			list = append(list, v)
		}
	}
	if len(list) == 0 {
		return ""
	}
	t := pick(g.choices, list...).t
	switch {
	case t.kind == kStruct && g.one(2):
		t = pick(g.choices, t.fields...).t
	case (t.kind == kArray || t.kind == kSlice) && g.one(2):
		t = t.elem
	}
	places := g.places(t, true)
	if len(places) == 0 {
		return ""
	}
	p := pick(g.choices, places...)
	switch {
	case t.kind == kInt && g.one(4):
		return p + pick(g.choices, "++", "--")
	case t.kind == kInt && g.one(2):
		return p + " " + pick(g.choices, "+=", "-=", "*=", "&=", "|=", "^=", "&^=") + " " + g.expr(t, 2)
	case t.kind == kFloat && g.one(2):
		return p + " " + pick(g.choices, "+=", "-=", "*=", "/=") + " " + g.expr(t, 2)
	case t.kind == kString && g.one(2):
		return fmt.Sprintf("if len(%s) < 100 { %s += %s }", p, p, g.expr(t, 2))
	case t.kind == kSlice && g.one(2):
		return fmt.Sprintf("if len(%s) < 50 { %s = append(%s, %s, %s) }", p, p, p, g.expr(t.elem, 1), g.expr(t.elem, 1))
	}
	return p + " = " + g.expr(t, 3)
}

func (g *gen) swap() {
	t := g.simple()
	p := g.places(t, true)
	if len(p) == 0 {
		g.define()
		return
	}
	a, b := pick(g.choices, p...), pick(g.choices, p...)
	if a == b {
		g.line("%s = %s", a, g.expr(t, 2))
		return
	}
	g.line("%s, %s = %s, %s", a, b, g.expr(t, 2), g.expr(t, 2))
}

// multi takes the two results of a function, an assertion or a map.
func (g *gen) multi() {
	a, b := g.name("v"), g.name("v")
	for _, f := range g.funcs {
		if f.two != nil && g.one(2) {
			g.line("%s, %s := %s(%s)", a, b, f.name, g.args(f.t.params, 2))
			g.add(a, f.t.elem)
			g.add(b, f.two)
			return
		}
	}
	t := g.anyType(1)
	if g.one(2) {
		g.line("%s, %s := %s[%s]", a, b, g.expr(mapOf(tInt, t), 2), g.expr(tInt, 1))
	} else {
		g.line("%s, %s := %s.(%s)", a, b, g.leaf(tAny), t.text)
	}
	g.add(a, t)
	g.add(b, tBool)
}

// collections does something to a map or slice.
func (g *gen) collections() {
	for _, v := range g.vars {
		if !v.set || !g.one(2) {
			continue
		}
		switch v.t.kind {
		case kMap:
			switch g.n(4) {
			case 0:
				g.line("delete(%s, %s)", v.name, g.expr(v.t.key, 1))
			case 1:
				g.line("if len(%s) > 5 { clear(%s) }", v.name, v.name)
			default:
				g.line("%s[%s] = %s", v.name, g.expr(v.t.key, 2), g.expr(v.t.elem, 2))
			}
			return
		case kSlice:
			switch g.n(3) {
			case 0:
				g.line("say(%d, copy(%s, %s))", g.tag(), v.name, g.expr(v.t, 2))
			case 1:
				g.line("clear(%s)", v.name)
			default:
				g.line("%s = %s[:uint(%s)%%uint(cap(%s)+1)]", v.name, v.name, g.expr(tInt, 1), v.name)
			}
			return
		}
	}
	g.define()
}

func (g *gen) body(n int) {
	g.block(func() {
		for range 1 + g.n(n) {
			g.stmt()
		}
	})
}

func (g *gen) ifStmt() {
	g.line("if %s {", g.expr(tBool, 3))
	g.body(3)
	if g.one(2) {
		g.line("} else {")
		g.body(3)
	}
	g.line("}")
}

// within makes the body of a loop, which may be left by way of its label.
func (g *gen) within(label string, f func()) {
	old := g.loops
	g.loops = append(g.loops[:len(g.loops):len(g.loops)], "break", "continue")
	if label != "" {
		g.loops = append(g.loops, "break "+label, "continue "+label)
	}
	g.block(func() {
		g.line("if !turn() { break }")
		f()
		for range 1 + g.n(3) {
			g.stmt()
		}
	})
	g.loops = old
	g.line("}")
}

func (g *gen) loop() {
	label := ""
	if g.one(3) {
		label = g.name("L")
		g.line("%s:", label)
	}
	i, x := g.name("v"), g.name("v")
	use := func(name string, t *typ, set bool) {
		g.vars = append(g.vars, variable{name, t, set})
		g.line("_ = %s", name)
	}
	if label != "" { // it must be used
		defer func() { _ = label }()
	}
	labelled := func() {
		if label != "" {
			g.line("if fuel < -1000 { continue %s }", label)
		}
	}
	switch g.n(6) {
	case 0, 1:
		g.line("for %s := %s; %s < %s; %s++ {", i, g.constant(tInt), i, g.expr(tInt, 2), i)
		g.within(label, func() { labelled(); use(i, tInt, true) })
	case 2:
		t := sliceOf(g.anyType(1))
		g.line("for %s, %s := range %s {", i, x, g.operand(t, 2))
		g.within(label, func() { labelled(); use(i, tInt, true); use(x, t.elem, true) })
	case 3:
		g.line("for %s := range %s %% 6 {", i, g.operand(tInt, 2))
		g.within(label, func() { labelled(); use(i, tInt, true) })
	case 4:
		g.line("for %s, %s := range %s {", i, x, g.operand(tString, 2))
		g.within(label, func() { labelled(); use(i, tInt, true); use(x, ints[4], true) })
	case 5:
		t := mapOf(pick(g.choices, tString, tInt), g.anyType(1))
		m := g.name("v")
		if label != "" {
			g.line("for range 1 {")
			g.depth++
			defer func() { g.depth--; g.line("}") }()
		}
		g.line("%s := %s", m, g.operand(t, 2))
		g.line("for %s, %s := range keys(%s) {", i, x, m)
		g.within("", func() { labelled(); use(i, tInt, true); use(x, t.key, true); use(m, t, false) })
	}
}

func (g *gen) switchStmt() {
	old := g.loops
	defer func() { g.loops = old }()
	g.loops = append(g.loops[:len(g.loops):len(g.loops)], "break")
	t := pick(g.choices, tInt, tString, ints[6])
	if g.one(3) {
		g.line("switch {")
		for range 1 + g.n(3) {
			g.line("case %s:", g.expr(tBool, 2))
			g.body(2)
		}
	} else {
		g.line("switch %s {", g.operand(t, 2))
		for range 1 + g.n(3) {
			g.line("case %s, %s:", g.expr(t, 1), g.expr(t, 1))
			g.body(2)
			if g.one(4) {
				g.line("\tfallthrough")
				g.line("case %s:", g.expr(t, 1))
				g.body(1)
			}
		}
	}
	if g.one(2) {
		g.line("default:")
		g.body(2)
	}
	g.line("}")
}

func (g *gen) typeSwitch() {
	old := g.loops
	defer func() { g.loops = old }()
	g.loops = append(g.loops[:len(g.loops):len(g.loops)], "break")
	x := g.name("v")
	g.line("switch %s := %s.(type) {", x, g.operand(tAny, 2))
	seen := map[string]bool{}
	for range 1 + g.n(4) {
		t := g.anyType(2)
		if t.kind == kAny || seen[t.text] || t.text == "int32" {
			continue
		}
		seen[t.text] = true
		g.line("case %s:", t.text)
		g.block(func() {
			g.add(x, t)
			g.stmt()
		})
	}
	g.line("case nil, rune:")
	g.line("\tsay(%d, \"nil\", %s == nil)", g.tag(), x)
	g.line("default:")
	g.line("\tsay(%d, \"default\", fmt.Sprintf(\"%%T\", %s))", g.tag(), x)
	g.line("}")
}

// tried runs statements in a function that recovers.
func (g *gen) tried() {
	old := g.loops
	g.loops = nil
	g.line("func() {")
	g.block(func() {
		g.line("if !turn() { return }")
		for range 1 + g.n(2) {
			g.begin()
			switch g.n(4) {
			case 0:
				g.line("defer say(%d, %s)", g.tag(), g.expr(g.simple(), 2))
			case 1:
				g.line("defer func() {")
				g.block(func() { g.line("caught(%d, recover())", g.tag()); g.stmt() })
				g.line("}()")
			case 2:
				g.line("defer func(x int) {")
				g.block(func() {
					g.vars = append(g.vars, variable{"x", tInt, true})
					g.line("if r := recover(); r != nil && x %% 2 == 0 { caught(%d, r); panic(fmt.Sprint(\"again \", x)) }", g.tag())
					g.assign()
				})
				g.line("}(%s)", g.expr(tInt, 2))
			default:
				g.line("defer func() { caught(%d, recover()) }()", g.tag())
			}
		}
		for range 1 + g.n(3) {
			g.stmt()
		}
		g.begin()
		switch g.n(4) {
		case 0:
			g.line("if turn() { panic(%s) }", g.expr(g.simple(), 2))
		case 1:
			g.line("_ = %s.(interface{ Nope() })", g.operand(tAny, 1))
		case 2:
			g.line("var %s *int; _ = *%s", "np", "np")
		}
	})
	g.line("}()")
	g.loops = old
}

// goroutines joins some that share nothing.
func (g *gen) goroutines() {
	t := pick(g.choices, ints...)
	c, w, n := g.name("c"), g.name("w"), 1+g.n(4)
	i := g.name("g")
	old, loops := g.pure, g.loops
	switch g.n(3) {
	case 0:
		g.line("%s := make(chan %s, %d)", c, t.text, g.n(3))
		g.line("for %s := range %d {", i, n)
		g.line("\t_ = %s", i)
		g.pure = true
		g.vars = append(g.vars, variable{i, tInt, false})
		g.line("\tgo func() { defer func() { if recover() != nil { %s <- 1 } }(); %s <- %s }()", c, c, g.expr(t, 3))
		g.vars = g.vars[:len(g.vars)-1]
		g.pure = old
		g.line("}")
		s := g.name("v")
		g.line("var %s %s", s, t.text)
		g.line("for range %d { %s += <-%s }", n, s, c)
		g.add(s, t)
	case 1:
		s := g.name("v")
		g.line("%s := make([]%s, %d)", s, t.text, n)
		g.line("var %s sync.WaitGroup", w)
		g.line("for %s := range %d {", i, n)
		g.line("\t_ = %s", i)
		g.pure = true
		g.vars = append(g.vars, variable{i, tInt, false})
		g.line("\t%s.Add(1)", w)
		g.line("\tgo func() { defer %s.Done(); defer func() { recover() }(); %s[%s] = %s }()", w, s, i, g.expr(t, 3))
		g.vars = g.vars[:len(g.vars)-1]
		g.pure = old
		g.line("}")
		g.line("%s.Wait()", w)
		g.add(s, sliceOf(t))
	case 2:
		s := g.name("v")
		g.line("%s := make(chan %s)", c, t.text)
		g.line("go func() { defer close(%s); defer func() { recover() }(); for _, x := range %s { %s <- x } }()", c, g.operand(sliceOf(t), 1), c)
		g.line("var %s %s", s, t.text)
		g.line("for x := range %s { %s = %s*5 + x }", c, s, s)
		g.add(s, t)
	}
	g.loops = loops
}

// closures makes functions in a loop that share variables.
func (g *gen) closures() {
	fs, n := g.name("v"), g.name("v")
	t := funcOf(tInt, tInt)
	g.line("var %s []%s", fs, t.text)
	g.line("%s := %s", n, g.expr(tInt, 2))
	i := g.name("v")
	g.line("for %s := 0; %s < %d; %s++ {", i, i, 1+g.n(4), i)
	g.block(func() {
		g.vars = append(g.vars, variable{n, tInt, true}, variable{i, tInt, false})
		g.line("%s = append(%s, %s)", fs, fs, g.closure(t, true))
	})
	g.line("}")
	g.line("for i, f := range %s { if turn() { x := f(i); %s += x } }", fs, n)
	g.vars = append(g.vars, variable{n, tInt, true})
	g.line("say(%d, %s)", g.tag(), n)
}

func (g *gen) selectStmt() {
	a, b := g.name("c"), g.name("c")
	old := g.loops
	g.loops = append(g.loops[:len(g.loops):len(g.loops)], "break")
	defer func() { g.loops = old }()
	t := g.anyType(1)
	g.line("%s, %s := make(chan %s, 1), make(chan int)", a, b, t.text)
	g.line("_, _ = %s, %s", a, b)
	if g.one(2) {
		g.line("%s <- %s", a, g.expr(t, 2))
	}
	x := g.name("v")
	g.line("select {")
	g.line("case %s := <-%s:", x, a)
	g.block(func() { g.add(x, t); g.stmt() })
	g.line("case %s <- %s:", b, g.expr(tInt, 2))
	g.line("\tsay(%d)", g.tag())
	g.line("default:")
	g.body(2)
	g.line("}")
}

// iterator ranges over a function.
func (g *gen) iterator() {
	i, x := g.name("v"), g.name("v")
	if g.one(2) {
		g.line("for %s := range upTo(%s %% 5) {", i, g.operand(tInt, 2))
		g.within("", func() { g.vars = append(g.vars, variable{i, tInt, true}); g.line("_ = %s", i) })
		return
	}
	t := sliceOf(g.anyType(1))
	g.line("for %s, %s := range pairs(%s) {", i, x, g.operand(t, 2))
	g.within("", func() {
		g.vars = append(g.vars, variable{i, tInt, true}, variable{x, t.elem, true})
		g.line("_, _ = %s, %s", i, x)
	})
}
