package cell

import (
	"fmt"
	"strings"
)

// MaxMessages bounds the messages of one Error.
const MaxMessages = 10

// Error is a cell that is not valid Go in its namespace. Messages are Go's own, each with its position
// "line:col: " in the cell.
type Error struct{ Msgs []string }

func (e *Error) Error() string { return strings.Join(e.Msgs, "\n") }

// NotAllowedError is a cell that uses what farm does not run: a package, a member, a construct.
type NotAllowedError struct {
	What string // the construct: `package "os/exec"`, "time.AfterFunc", "goto into a loop"
	Why  string
	Pos  string // line:col in the cell
	// Internal says that the construct was not recognised: the front end or the engine failed on it.
	Internal bool
}

func (e *NotAllowedError) Error() string {
	return fmt.Sprintf("%s: %s is not allowed: %s", e.Pos, e.What, e.Why)
}
