package prompt

import (
	"go/scanner"
	"go/token"
)

// Want is what a piece of Go lacks to be whole.
type Want int

// What can be lacking.
const (
	// Nothing: it can be run as it is.
	Nothing Want = iota
	// Operand: its last line cannot be the end of a statement, as after an operator.
	Operand
	// Bracket: a bracket is open.
	Bracket
	// Text: a raw string or a comment is open, in which empty lines mean something.
	Text
)

// Wants says what src lacks. It goes by tokens alone: what it takes for whole
// may still be refused by a parser.
func Wants(src string) Want {
	var s scanner.Scanner
	open := false // a raw string or comment is
	f := token.NewFileSet().AddFile("", -1, len(src))
	s.Init(f, []byte(src), func(_ token.Position, msg string) {
		open = open || msg == "raw string literal not terminated" || msg == "comment not terminated"
	}, 0)
	depth, ended := 0, true
	for {
		_, tok, lit := s.Scan()
		switch tok {
		case token.EOF:
			switch {
			case open:
				return Text
			case depth > 0:
				return Bracket
			case !ended:
				return Operand
			}
			return Nothing
		case token.LPAREN, token.LBRACK, token.LBRACE:
			depth++
		case token.RPAREN, token.RBRACK, token.RBRACE:
			depth--
		}
		// The scanner adds a semicolon to a line that may end there, and to none else.
		ended = tok == token.SEMICOLON && (lit == "\n" || lit == ";")
	}
}
