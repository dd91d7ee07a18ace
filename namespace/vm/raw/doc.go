// Package raw is all the unsafe code of the virtual machine: memory words, run-time types and function
// values made at run time. No other package of farm's machine imports unsafe.
//
// What it rests on is the layout of run-time types, interfaces and function values of the Go version in
// go.mod (internal/abi and package reflect there). A test makes each of these things and looks at it
// through package reflect; it fails before anything else when a new Go version has other layouts.
//
// The invariants:
//
//  1. A pointer is kept where the collector sees it as one: registers for pointers and registers for
//     numbers are different memory (see Stack), and a pointer never becomes a number and back.
//  2. Memory that a program sees has a run-time type that describes it exactly, and is written with the
//     word width of its kind, pointers as pointers, so that write barriers are where they must be.
//  3. A run-time type, once made, is never changed and never freed: caches of the runtime keep its
//     address as a number. The entries of its methods can be given back when nobody has a value of it.
//  4. A function value begins with a code pointer that Go code can call with the value in the closure
//     register. What follows is read only after the code pointer has been compared.
//  5. Nothing points into a Stack but the thread that runs on it.
//
// It assumes linux or another system on amd64 or arm64; see Supported.
package raw
