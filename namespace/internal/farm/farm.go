// Package farm is what cells see of types of their package farm. An engine's host has
// the functions; here are the types, in a package of that name so that printing
// their names in a cell is right. The fields must be those of the source that cells
// are checked against, in package cell; a test compares them.
package farm

import "time"

// Task is a task that a cell submits. Variables of it are kept in namespaces: fields
// come only at its end, and package value knows how many there once were.
type Task struct {
	ID         string
	Namespace  string
	Source     string
	Call       string
	Inputs     []string
	Args       map[string]string
	InJob      bool
	Timeout    time.Duration
	Delay      time.Duration
	Retries    int
	Priority   int
	Files      map[string][]byte
	Engine     string
	Handler    string
	Input      string
	Queue      string
	Key        string
	Unique     Unique
	Labels     map[string]string
	Backoff    time.Duration
	BackoffMax time.Duration
	At         time.Time
	Deadline   time.Time
	Within     time.Duration
	After      []string
	AfterWhen  string
	Keep       time.Duration
}

// Unique is a key that one task has at a time.
type Unique struct {
	Key   string
	While string
	For   time.Duration
}
