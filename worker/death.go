package worker

import (
	"bytes"
	"fmt"
	"strings"
	"syscall"
)

// death is the end of a child.
type death struct {
	status syscall.WaitStatus
	other  error  // why the status is not known
	broke  bool   // killed by its worker, for what it did to the protocol
	words  []byte // its last words to standard error, nil if it had none
}

// What the Go runtime says when it gives up begins with one of these.
var (
	markPanic = []byte("panic: ")
	markFatal = []byte("fatal error: ")
	markCgo   = []byte("runtime/cgo: ") // no memory for the stack of a thread, in a build with cgo
	markFault = []byte("SIGSEGV: ")     // in the runtime itself, for one where it has no memory left
	marks     = [][]byte{markPanic, markFatal, markCgo, markFault}
)

// What may follow markFatal when there is no memory or no stack left.
var (
	saysStack  = []byte("stack overflow")
	saysMemory = [][]byte{[]byte("out of memory"), []byte("cannot allocate"), []byte("cannot reserve"), []byte("failed to allocate")}
)

const maxMessage = 2 << 10 // bytes of a message taken from what a child wrote

// describe says why the child died, from its status and its last words. Those
// can be forged by the cell, which then deceives nobody but its owner.
func (d *death) describe(l Limits) *failure {
	switch {
	case d.other != nil:
		return &failure{kind: kindInternal, message: "the end of the child is not known: " + d.other.Error()}
	case d.broke || d.status.Exited() && d.status.ExitStatus() == exitProtocol:
		return &failure{kind: kindCrash, message: "the child closed its connection with the worker or wrote to it"}
	}
	if f := d.lastWords(l); f != nil {
		return f
	}
	switch {
	case d.status.Signaled() && d.status.Signal() == syscall.SIGKILL:
		return &failure{kind: kindCrash, message: "the child was killed (signal 9), by somebody or by a system short of memory"}
	case d.status.Signaled():
		return &failure{kind: kindCrash, message: fmt.Sprintf("the child was ended by signal %d (%v)", d.status.Signal(), d.status.Signal())}
	case d.status.Exited():
		return &failure{kind: kindExit, message: fmt.Sprintf("the cell ended its process with exit status %d", d.status.ExitStatus())}
	}
	return &failure{kind: kindCrash, message: "the child ended for an unknown reason"}
}

// exitRuntime is the status with which the Go runtime ends a process.
const exitRuntime = 2

// lastWords is the runtime's reason for ending the process, nil if it gave
// none: a panic that nobody recovered, or a fatal error.
func (d *death) lastWords(l Limits) *failure {
	if !d.status.Exited() || d.status.ExitStatus() != exitRuntime || d.words == nil {
		return nil
	}
	if fatal, ok := bytes.CutPrefix(d.words, markFatal); ok {
		fatal, _, _ = bytes.Cut(fatal, []byte("\n"))
		if bytes.HasPrefix(fatal, saysStack) {
			return &failure{kind: kindCrash, message: "stack overflow: a goroutine's stack exceeded " + size(int64(l.StackBytes))}
		}
		for _, m := range saysMemory {
			if bytes.Contains(fatal, m) {
				return &failure{kind: kindMemory, message: "out of memory: limit " + size(l.MemoryBytes)}
			}
		}
	}
	if bytes.HasPrefix(d.words, markCgo) {
		return &failure{kind: kindMemory, message: "out of memory: limit " + size(l.MemoryBytes) + " (no room for another thread)"}
	}
	return &failure{kind: kindCrash, message: strings.ToValidUTF8(clip(strings.TrimSpace(string(cutTrace(d.words))), maxMessage), "?")}
}

// size is a number of bytes for people.
func size(n int64) string {
	for _, u := range []struct {
		shift uint
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift && n%(1<<u.shift) == 0 {
			return fmt.Sprintf("%d %s", n>>u.shift, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
