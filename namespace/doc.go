// Package namespace defines the durable form of a namespace and everything that can be done to it
// without running code: checking a cell, reading a variable as JSON, setting and deleting one, listing.
//
// It is for whoever holds a namespace as data: the command line, the client library, a node that
// answers reads. It never runs a cell and never links an interpreter; package live does that. It knows
// nothing of clusters, tasks queues or logs.
//
// # Items
//
// A namespace is a dictionary of items: string keys, byte values. To the rest of farm both are opaque;
// they are stored, compared and shipped, nothing more. The keys:
//
//	i/<local name>   an import
//	d/<key>          a declaration: a function, method, type or constant group
//	v/<name>         a variable
//	h/engine         the engine of its cells; without it, yaegi if there are i/ or d/ items, and else still open
//
// The key of a declaration is the name of the function or type, "T.M" for method M of T, and the
// comma-separated names of the specs of a constant or type group.
//
// Every value starts with the format byte 1. Numbers are unsigned varints (encoding/binary), strings
// are a varint length followed by the bytes. After the format byte:
//
//	import       path string
//	engine       name string
//	declaration  ordinal varint, kind byte (1 type, 2 func, 3 method, 4 const), source string
//	variable     kind byte (1 own value, 2 shared, 3 own value with functions), type string, then
//	             1: the number of other variables that share its memory, their names, sorted, and the
//	                encoded unit, to the end (package value; root 0 is this variable, then the others)
//	             2: name string of the variable that owns the unit
//	             3: as 1, and before the unit the number of declarations that functions in it need,
//	                and their names (f, T, T.M, __lit_… of a function literal), sorted
//
// Declarations are ordered by their ordinal, so that constant groups and generic types read the way
// they were written. The type of a variable is a Go type expression in the scope of the namespace: its
// package qualifiers are the local names of the i/ items. Variables that share memory (a pointer into
// another variable, two slices of one array) form one unit; the first of their names in sorted order
// owns it. The encoding is canonical: equal namespaces have equal items.
package namespace
