package cell

import (
	"fmt"
	"go/scanner"
	"go/token"
	"strings"
)

// MaxNesting bounds the depth of brackets in a cell. Parser and checker recurse on it.
const MaxNesting = 500

type chunkKind int

const (
	chunkImport chunkKind = iota
	chunkDecl
	chunkStmt
)

// chunk is one top-level piece of a cell.
type chunk struct {
	kind      chunkKind
	src       string
	line, col int // of its first byte in the cell
}

type tok struct {
	tok token.Token
	off int
}

// split cuts a cell at its top-level semicolons. Go's grammar decides by the first tokens what a piece
// is: import, type, const, func with a name are declarations, everything else is a statement.
func split(src string) ([]chunk, error) {
	var s scanner.Scanner
	var errs scanner.ErrorList
	f := token.NewFileSet().AddFile("cell", -1, len(src))
	s.Init(f, []byte(src), func(pos token.Position, msg string) { errs.Add(pos, msg) }, 0)
	var chunks []chunk
	var cur []tok
	depth := 0
	flush := func(end int) {
		if len(cur) == 0 {
			return
		}
		if len(chunks) == 0 && len(cur) == 2 && cur[0].tok == token.PACKAGE && cur[1].tok == token.IDENT {
			cur = cur[:0] // a cell kept in a file may say what package the file is
			return
		}
		p := f.Position(f.Pos(cur[0].off))
		text := strings.TrimRight(src[cur[0].off:end], " \t\r\n")
		chunks = append(chunks, chunk{kind: kindOf(cur), src: text, line: p.Line, col: p.Column})
		cur = cur[:0]
	}
	for {
		pos, t, _ := s.Scan()
		off := f.Offset(pos)
		switch t {
		case token.EOF:
			flush(len(src))
			if len(errs) > 0 {
				return nil, syntaxErrors(errs)
			}
			return chunks, nil
		case token.LPAREN, token.LBRACK, token.LBRACE:
			if depth++; depth > MaxNesting {
				p := f.Position(pos)
				return nil, &Error{Msgs: []string{fmt.Sprintf("%d:%d: brackets are nested more than %d deep", p.Line, p.Column, MaxNesting)}}
			}
		case token.RPAREN, token.RBRACK, token.RBRACE:
			depth--
		case token.SEMICOLON:
			if depth > 0 {
				break
			}
			if n := len(chunks); len(cur) == 0 && n > 0 && chunks[n-1].kind == chunkStmt {
				// An empty part of a loop's header, "for i := 0; ; i++", is split off as a statement too.
				p := f.Position(pos)
				chunks = append(chunks, chunk{kind: chunkStmt, line: p.Line, col: p.Column})
				continue
			}
			flush(off)
			continue
		}
		cur = append(cur, tok{t, off})
	}
}

func kindOf(toks []tok) chunkKind {
	switch toks[0].tok {
	case token.IMPORT:
		return chunkImport
	case token.TYPE, token.CONST:
		return chunkDecl
	case token.FUNC:
		if namedFunc(toks) {
			return chunkDecl
		}
	}
	return chunkStmt
}

// namedFunc tells func f( and func (r T) f( from a function literal.
func namedFunc(toks []tok) bool {
	at := func(i int) token.Token {
		if i < len(toks) {
			return toks[i].tok
		}
		return token.EOF
	}
	if at(1) == token.IDENT {
		return true
	}
	depth := 0
	for i := 1; i < len(toks); i++ {
		switch toks[i].tok {
		case token.LPAREN:
			depth++
		case token.RPAREN:
			depth--
		}
		if depth == 0 {
			return at(i+1) == token.IDENT && at(i+2) == token.LPAREN
		}
	}
	return false
}

func syntaxErrors(list scanner.ErrorList) error {
	list.RemoveMultiples()
	e := &Error{}
	for _, x := range list {
		if len(e.Msgs) == MaxMessages {
			break
		}
		e.Msgs = append(e.Msgs, position(x.Pos)+": "+x.Msg)
	}
	return e
}

// position prints a position: line:col in the cell, the declaration first when it is elsewhere.
func position(p token.Position) string {
	name := strings.TrimSuffix(p.Filename, "/"+BaseFile)
	if name == "cell" || name == "" || name == BaseFile {
		return fmt.Sprintf("%d:%d", p.Line, p.Column)
	}
	if IsLiteral(name) {
		name = "a function literal that a variable holds,"
	}
	return fmt.Sprintf("in %s %d:%d", name, p.Line, p.Column)
}
