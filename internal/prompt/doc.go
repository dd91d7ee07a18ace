// Package prompt is what a prompt for Go code needs on a terminal: an editor for
// lines, on top of golang.org/x/term, with history, completion with Tab, pasted
// text told from typed text, and Ctrl-C told from Ctrl-D; and the question
// whether a piece of Go wants more lines.
//
// It may assume a terminal that knows the usual escape sequences. It leaves the
// terminal as it found it when the editor is closed. It never looks at what is
// typed beyond Go's tokens, and knows nothing of farm.
package prompt
