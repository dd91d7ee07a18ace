// Package vm is farm's own engine: a virtual machine for Go programs in the form of package
// golang.org/x/tools/go/ssa.
//
// A function is compiled, when it is first called, to instructions over registers. There are two banks
// of registers: pointers, which the collector sees, and numbers. A value takes as many registers as it
// has scalars (a string a pointer and a number, a small struct those of its fields); arrays and large
// structs are boxed. Memory is ordinary Go memory of ordinary run-time types, which package raw makes
// for the types a program declares. So compiled code and the program see each other's values without
// any conversion, methods included; interfaces, maps and channels are those of Go.
//
// One concern has one file: types.go and shape.go what values are; compile.go, instr.go, arith.go,
// iface.go, slices.go, maps.go, chans.go, call.go and builtin.go what becomes of each instruction;
// order.go, jump.go, fuse.go and float.go in which order, and what is done in one; live.go and assign.go
// which values share registers; exec.go runs them; thread.go and panics.go are calls, deferred calls and
// panics; native.go, fast.go, sort.go and intrinsics.go compiled Go; load.go makes programs.
//
// A goroutine of the program is a goroutine. Turns of loops, calls and waits look whether the task has
// ended. A panic that nothing recovers, in any goroutine, is the error of the task.
//
// It reads no files, and knows nothing of namespaces.
package vm
