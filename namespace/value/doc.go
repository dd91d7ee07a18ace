// Package value turns the variables of a namespace into canonical,
// self-describing bytes, and back.
//
// # What it is for
//
// A namespace lives as bytes in the replicated state and as variables in an
// interpreter. Encode writes variables, Decode restores them elsewhere such that
// the restored variables cannot be told from the originals: named types,
// private fields, nil against empty, capacity, NaN and -0, and the graph:
// pointers into other values, shared maps, slices of one array, cycles, within
// a variable and between variables. Variables that share memory become one
// Unit. What cannot be kept is refused by name and path with
// *UnserializableError; nothing is silently copied or dropped. Exceptions that
// a program could notice: the monotonic reading of a time.Time is dropped, and
// a time in the zone Local of another machine keeps its offset and
// abbreviation instead.
//
// JSON shows encoded bytes to people; FromJSON, InferJSON, DecodeJSON and FromGo
// make values from JSON and from plain Go values.
//
// # What it assumes
//
// The static type of a variable, from go/types, is the authority; the reflect
// type only says where things lie in memory. Interpreters lose names and rename
// private fields, so a struct's fields are matched by their order. Where the two
// do not fit each other, the variable is refused. Roots do not overlap in
// memory, and nobody changes them during a call. Functions may be called by
// several goroutines.
//
// Values in interfaces must have types that a restoring process can find:
// predeclared types, those of the standard library listed in stdTypes, and
// types made of these. Types declared in an interpreter take an Engine.
//
// # What it never does
//
// It never runs methods of user types, never imports an interpreter, and never
// panics on bad data: Decode, JSON, TypeString and FromJSON return
// *CorruptError and take memory bounded by a multiple of the data's length.
//
// # Canonical
//
// Encoding equal states gives equal bytes, whatever the order of the roots, the
// history of maps and the addresses. Objects are numbered in the order in which
// they are first mentioned; map entries are ordered by their encoded keys.
// Pointers as map keys are ordered by the numbers of their objects or else by
// what they lead to (see keyorder.go); equal ones are refused.
//
// # Bytes
//
// Notation: u is an unsigned varint of encoding/binary, i a zigzag varint of it,
// str is u bytes of text after its length u. Fixed-size numbers are little
// endian, but for those of time.Time.
//
//	unit    = version(1 byte: 1)
//	          u roots, u types, types × type, roots × u type number   static header
//	          u types, types × type                                   types only in interfaces
//	          u objects, objects × object
//	          body of each root in the order of names, then body of each object
//	object  = form(1 byte: 0 single, 1 array, 2 map), u type number,
//	          u elements (array: the capacity) or entries (map); absent for single
//	type    = kind(1 byte; bit 7: named), [str import path, str name], then
//	          array: u length, u element type; slice, pointer: u element type;
//	          map: u key type, u element type;
//	          struct: u fields × (str name, str tag, byte embedded, u type);
//	          interface, func, chan, refused: str text; all others: nothing
//
// Kinds are numbered as the constants of type kind. Types are numbered from 0 by
// first mention, depth first, across both lists. The static header is compared
// with that of the roots byte by byte. Types in interfaces must describe
// themselves the same when they have been found.
//
// The body of a single object is a value, that of an array its elements, that of
// a map its entries, key before element, in ascending order of the keys' bytes
// (of keys in interfaces: of the ids of the types that they alone bring, and
// then of their bytes).
//
//	bool               1 byte 0 or 1
//	int8, uint8        1 byte
//	other int kinds    i; other uint kinds and uintptr: u
//	float32, float64   4 or 8 bytes, the bits as they are; complex: real, imaginary
//	string             str
//	array, struct      the elements or fields, without anything between
//	pointer            0 nil | 1 u object | 2 u object steps | 3 to something without
//	                   size | 4 str name of a variable of the standard library
//	slice              0 nil | 1 u len, u cap, u object: from element 0 |
//	                   2 u len, u cap, u object, steps | 3 u len, u cap: without memory
//	map                0 nil | 1 u object
//	interface          0 nil | 1 u type number, value | 5 the same, boxed by the engine
//	func               0 nil | 6 str name of its code, u captured × (u type number, value),
//	                   where an engine can keep functions
//	chan               0 (only nil can be kept); unsafe.Pointer likewise
//	opaque             u bytes: the encoding of the standard library's type
//	steps              u count × u index of an element or field, outermost first
//
// The roots are the objects from 0, the others follow. An opaque value is what
// MarshalBinary, GobEncode or MarshalText gives, in this order of preference,
// except: time.Time (see appendTime), strings.Builder (its text), locks (nothing).
package value
