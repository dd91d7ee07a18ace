// Package farm is what cells see of types of their package farm. An engine's host has
// the functions; here are the types, in a package of that name so that printing
// their names in a cell is right. The fields must be those of the source that cells
// are checked against, in package cell; a test compares them.
package farm

import "time"

// Task is a task that a cell submits.
type Task struct {
	ID        string
	Namespace string
	Source    string
	Call      string
	Inputs    []string
	Args      map[string]string
	InJob     bool
	Timeout   time.Duration
	Delay     time.Duration
	Retries   int
	Priority  int
}
