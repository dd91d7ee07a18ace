// Package cell is the typed front end: it turns a cell, a piece of Go source as people write it in a
// notebook, into checked Go definitions and one function for an engine.
//
// A cell is imports, declarations and statements in any order, optionally ending in an expression whose
// value is the result. It is checked with go/types against the static side of a namespace (Env) before
// anything runs, so errors are Go's own, at positions in the cell, and a cell that does not compile
// changes nothing. The steps:
//
//  1. split     cut at top-level semicolons into imports, declarations, statements
//  2. hoist     variables defined at top level become package variables of their exact type
//  3. check     the package as it will be; all bodies when something is redefined, so that an
//     incompatible redefinition shows at its callers; types that live variables have cannot change
//  4. allow     packages and members cells may not use are refused, by name and position
//  5. specialise generic declarations become an instance for each list of type arguments
//  6. lower     what the interpreter gets wrong is rewritten to what it runs rightly, or refused
//  7. emit      the definitions the cell reaches, and its function, as source
//
// What a unit reaches (declarations, variables) is an over-approximation by mention; engines load no
// more than that, and variables outside it need not be looked at after a run.
//
// It never runs code, links no interpreter and reads no files. It assumes nothing about source, which is
// hostile; its depth is bounded by MaxNesting, its size by the caller.
package cell
