// Package tasks is farm for a Go program: submit tasks and wait for them, use
// namespaces from outside, map a function over many inputs.
//
// It speaks to any nodes of a farm over the network and needs nothing else of
// farm: no replica, scheduler or interpreter is linked in. It never runs a
// cell, and never does twice what was asked for once: every request carries an
// id made here, so when a connection breaks the client repeats what was not
// answered, at another node if need be, and gets the first answer.
//
// A Client is safe for concurrent use and meant to be shared. All calls of a
// client travel over one stream to one node, many in one message when many
// wait, so the way to be fast is to have many calls in flight.
//
// A call ends when its answer is there, when its context ends, or with
// ErrUnavailable when no node answered for Options.Timeout. After the last two
// it is not known whether the request was carried out; the same request with
// the same id can be made again.
package tasks
