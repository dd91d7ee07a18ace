// Package scheduler decides which worker runs which task, as a pure function of
// the log: Step takes the state and one command and returns its result and its
// effects. Every replica applies the same commands and so holds the same state;
// the leader alone acts on the effects.
//
// Nothing here reads a clock, a random number, a file or a map in its own
// order, starts a goroutine or logs; a test that parses the package says so.
// Time is data: the leader stamps each log entry, and Advance never lets the
// state's clock run backwards.
//
// # The life of a task
//
//	Submit                      Step: a worker has room, it is the task's turn
//	  │    ┌────────────┐ ───────────────────────────────▶ ┌─────────────┐
//	  └──▶ │   Queued   │                                  │   Running   │
//	       └────────────┘ ◀─────────────────────────────── └─────────────┘
//	         │   │   │      Complete(Failure), retries left;   │   │   │
//	         │   │   │      Return; WorkerLost                 │   │   │
//	 Cancel, │   │   │                                         │   │   │
//	 CancelJob   │   └─ Step: not a Run, at its turn ──────┐   │   │   │
//	         │   │                                         ▼   ▼   │   │
//	         │   │                    ┌───────────┐  Complete(Success) │
//	         │   │                    │ Succeeded │ ◀──────────┘   │   │
//	         │   │                    └───────────┘                │   │
//	         │   │  what it asks for        ┌────────┐ Complete(Failure, Permanent);
//	         │   └─ cannot be done ───────▶ │ Failed │ ◀── WorkerLost too often
//	         │                              └────────┘                 │
//	         │                 ┌───────────┐  Complete(Stopped); WorkerLost
//	         └───────────────▶ │ Cancelled │ ◀── of a task being cancelled
//	                           └───────────┘
//
// Succeeded, Failed and Cancelled are final. A queued or running task fails as well
// when its deadline comes, a queued one when what it waits for cannot come any more.
// Only a Retry makes a task that failed or was cancelled live again: Queued, as the
// last in line.
//
// A queued task may wait outside every line: for its time (NotBefore), for other tasks
// (after.go), or, between two attempts, for its backoff (backoff.go).
//
// # Namespaces
//
// In one namespace tasks take effect one at a time in the order of Task.Order.
// A namespace is placed on one worker, its holder; each placement has a new
// epoch. The holder is given several of its tasks at once and runs them one
// after the other on its own copy; each Complete names the version it started
// from, so the commits form a chain, and a link that does not fit is refused.
//
// Patch, Drop, Restore and Fork need no worker: Step carries them out when it is
// their turn. Each version of a namespace has an undo record, and the last
// HistoryVersions of them are kept. A Restore applies those of the versions
// after the one it asks for, as one change: a new version.
//
// # What is stored
//
// Records is the state as a map from keys to bytes. Live objects (tasks that
// are not final, namespaces, workers, open jobs) are held in memory as well
// and written by Settle; finished tasks and the items of namespaces are only
// there. Load rebuilds the memory from the records.
//
//	m                        counters and the clock
//	q/<task>                 a task that is not final
//	t/<task>                 a task that is
//	F/<8 bytes, big endian>  finished tasks and jobs, oldest first, for retention
//	k/<task>                 a finished task that says how long it is kept
//	s/<schedule>             a task that is submitted at times
//	n/<namespace>            a namespace: version, epoch, holder
//	i/<namespace>/<item>     an item of it: version of its last change, bytes
//	u/<namespace>/<version>  how that version is undone; the version in 8 bytes, big endian
//	w/<worker>               a worker
//	j/<job>, h/<job>         an open job, a finished one
package scheduler
