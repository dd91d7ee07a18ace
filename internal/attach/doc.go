// Package attach is a worker's side of its stream to the node that leads: it
// keeps one, makes another when it breaks, says what is to be said in as few
// messages as there are moments to send one, and beats.
//
// It knows the protocol of the stream and nothing of what attempts are. What a
// worker holds is the Worker's: a Link asks it at the beginning of each stream,
// so nothing that was lost with a stream is lost.
package attach
