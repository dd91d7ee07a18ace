// Package replica is one node of a farm: it keeps a copy of the log and the
// state, answers clients, and while it leads gives work to workers.
//
// Any node takes any call. A node that does not lead passes calls on to the one
// that does and holds them, for a bounded time and in a bounded number, while
// there is none; since every call carries an id that its client made, passing
// one on twice is harmless.
//
// What the leader remembers beside the log (who is connected, what each worker
// has been sent, who waits for what) can be lost at any moment: a new leader
// rebuilds it from the state and from what workers say when they attach.
//
// The package never runs, parses or checks user source.
package replica
