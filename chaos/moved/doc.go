// Package moved has the tests that a namespace which moves, and one in which cells fail,
// cannot be told from one that never did: on real nodes, whose contexts and processes are
// killed between cells and under them; and that tasks submit tasks once, on such nodes. It has nothing
// but tests.
package moved
