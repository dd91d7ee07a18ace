package main

import (
	"fmt"
	"go/scanner"
	"go/token"
	"go/types"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"farm/namespace"
)

// gutter stands before what belongs under a line of source.
const gutter = "     | "

// maxShownLine is how many columns of a line of source are shown in a message.
const maxShownLine = 160

var (
	// 2:5: message, in f 2:5: message
	placedMessage = regexp.MustCompile(`^(?:in (\S+) )?(\d+):(\d+): (.*)`)
	// cell:2, T.M:5
	namedFrame = regexp.MustCompile(`^([^\s:\d][^\s:]*):\d+`)
)

// annotate puts the messages of a compiler under the places they are about.
// find gives the source of a declaration, or of the cell for the empty name.
func annotate(msg string, find func(name string) string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(msg, "\n") {
		m := placedMessage.FindStringSubmatch(line)
		switch {
		case m != nil:
			b.WriteString(underline(m[1], find(m[1]), m[2], m[3], m[4]))
		case strings.HasPrefix(line, "\t"): // goes on
			b.WriteString(gutter + "  " + strings.TrimSpace(line) + "\n")
		default:
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// withStack lists below a message the functions that a panic left, innermost
// first. The lines that the interpreter names are those of the code it was
// given, not of the source, so they are not shown.
func withStack(msg string, stack []string) string {
	var b strings.Builder
	b.WriteString(msg + "\n")
	last := ""
	for _, frame := range stack {
		m := namedFrame.FindStringSubmatch(frame)
		if m == nil || m[1] == last {
			continue
		}
		last = m[1]
		fmt.Fprintf(&b, "\tin %s\n", who(last))
	}
	return b.String()
}

func who(frame string) string {
	if frame == "cell" {
		return "the cell"
	}
	return frame
}

// underline shows a line of a source with a message under a column, which
// counts bytes from 1. Without that line it is the message after its place.
func underline(name, src, lineText, colText, msg string) string {
	line, err1 := strconv.Atoi(lineText)
	col, err2 := strconv.Atoi(colText)
	lines := strings.Split(src, "\n")
	if err1 != nil || err2 != nil || line < 1 || col < 1 || line > len(lines) || src == "" {
		if name != "" {
			msg = "in " + name + " " + lineText + ":" + colText + ": " + msg
		}
		return msg + "\n"
	}
	text := strings.TrimRight(lines[line-1], " \t\r")
	head := text[:min(col-1, len(text))]
	shift := strings.Repeat(" ", min(max(0, col-1-len(text)), 1)) // the end of a line is after it
	if utf8.RuneCountInString(head) > maxShownLine/2 {
		runes := []rune(head)
		cut := string(runes[:len(runes)-maxShownLine/2])
		head, text = "…"+head[len(cut):], "…"+text[len(cut):]
	}
	if runes := []rune(text); len(runes) > maxShownLine {
		text = string(runes[:maxShownLine]) + "…"
	}
	under := strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, head)
	where := ""
	if name != "" {
		where = "in " + name + ":\n"
	}
	return fmt.Sprintf("%s%4d | %s\n%s%s%s^ %s\n", where, line, text, gutter, under, shift, msg)
}

// completions finds the candidates for the word at the end of head: what
// begins with it among the commands, the members of what stands before a dot,
// or the names there are: Go's, the namespace's, and those in what was typed
// before. It returns where the word begins.
func completions(head, before string, names *namespace.Names) (start int, found []string) {
	start = strings.LastIndexFunc(head, func(r rune) bool {
		return r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) + 1
	if strings.HasPrefix(head, ":") && before == "" && start <= 1 {
		var all []string
		for _, c := range replCommands {
			name := c.name
			if c.arg != "" {
				name += " "
			}
			all = append(all, name)
		}
		return 0, beginning(append(all, ":help"), head)
	}
	word := head[start:]
	if dot := strings.LastIndexByte(word, '.'); dot >= 0 {
		if names == nil {
			return start, nil
		}
		return start + dot + 1, beginning(names.Members(word[:dot]), word[dot+1:])
	}
	if word == "" {
		return start, nil
	}
	all := map[string]bool{}
	for _, name := range slices.Concat(types.Universe.Names(), keywords(), identifiers(before)) {
		all[name] = true
	}
	if names != nil {
		for _, name := range names.Top() {
			all[name] = true
		}
	}
	return start, beginning(slices.Collect(maps.Keys(all)), word)
}

// beginning are those of list that begin with prefix, sorted.
func beginning(list []string, prefix string) []string {
	var out []string
	for _, s := range list {
		if strings.HasPrefix(s, prefix) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return out
}

func keywords() []string {
	var out []string
	for t := token.BREAK; t <= token.VAR; t++ {
		out = append(out, t.String())
	}
	return out
}

// identifiers are the names in a piece of Go.
func identifiers(src string) []string {
	var out []string
	var s scanner.Scanner
	s.Init(token.NewFileSet().AddFile("", -1, len(src)), []byte(src), func(token.Position, string) {}, 0)
	for {
		_, tok, lit := s.Scan()
		switch tok {
		case token.EOF:
			return out
		case token.IDENT:
			out = append(out, lit)
		}
	}
}
