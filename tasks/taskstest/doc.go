// Package taskstest is a farm in the memory of a test, for programs that use
// package tasks: it starts in a millisecond, needs no process and no file, and its
// clock can be moved, so that a delay of a week is tested at once.
//
//	func TestResize(t *testing.T) {
//		farm := taskstest.New(t)
//		mux := tasks.NewMux()
//		tasks.Handle(mux, "resize", resize)
//		farm.Serve(mux, tasks.WorkerOptions{})
//		thumb, err := tasks.Call[Thumb](t.Context(), farm.Client(), "resize", picture, tasks.Task{})
//		…
//	}
//
// What decides there is the scheduler of real farms: queues, retries, delays and
// leases are the same, and one suite of tests runs on both. What it does not have
// is other nodes, a disk, namespaces and cells: a cell that is submitted waits for
// a worker that never comes.
package taskstest
