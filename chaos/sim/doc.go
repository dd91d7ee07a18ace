// Package sim runs whole farms in one process, on simulated time, network, disk
// and crashes, and looks for a history that breaks a promise. A history follows
// from its seed alone: the same seed gives it again, event for event. One that
// breaks a promise is cut down to a short transcript, which is text, can be
// edited, and can be run again.
//
//	make sim SECONDS=60 SEED=1
//	go run ./chaos/sim/simulate chaos/sim/testdata/held-not-begun.txt
//
// # What is real, and what is a model
//
// Real, the code that nodes run: the scheduler, fsm.Machine with its state files
// and snapshots, log entries, and the leader's roster, which holds leases, sends
// work and settles blame.
//
// Modelled, and simpler than life:
//
//   - Consensus is one log to which whoever leads can append while a majority is
//     up and connected. What a leader that loses its office has sent is committed
//     up to some entry, and it is told of none. One that is cut off goes on as if
//     it led until it learns better. Elections only choose. Package
//     replica/consensus has its own tests, with the real raft.
//   - Workers do what package worker does with the same messages, with a length
//     of time in the place of children. Their streams keep order or break.
//   - The state's file is written only when the simulation says so. A crash
//     leaves what was written last or, torn, any mixture of the pages of a write
//     under way, whose first two come last.
//   - Clients repeat a request, with the same id, until it is answered. Their
//     messages are lost, late, or arrive twice.
//
// # What is checked
//
// A checker follows the committed log with a scheduler of its own. What it
// expects it works out from commands, and from what truly happened on workers:
//
//	durable   what was acknowledged, or final, is there
//	once      a task ends once; its effects are there once, and what it submits if it
//	          has succeeded; its result stays
//	order     tasks of a namespace take effect in the order they were submitted
//	fence     only the current attempt, on what is committed, is accepted
//	space     only versions there were are restored
//	blame     an attempt is lost only by tasks that had begun on a lost worker,
//	          and by those the leader knew of; after too many a task is parked
//	limit     no more of a queue or a key begins than may, and nothing of one
//	          that is paused
//	unique    a unique key is with one task at a time, and duplicates are told which
//	job       every task that succeeded is folded, and jobs end when all has
//	slots     workers have no more to do than they may, and slots are not lost
//	drain     a worker that is to be given nothing new is given nothing
//	labels    what a task needs its worker has, and cells are not for workers with handlers
//	snooze    to be put off costs nothing
//	retry     what is made live again had failed, and begins anew
//	clock     the state's clock never runs back, and follows the entries
//	delay     nothing begins before its time, nor is tried again before its wait is over
//	deadline  nothing is live, or begins, when its deadline has come
//	after     a task runs after those it names as it asked to, and fails only if it cannot
//	tick      a schedule is fired once for a time, and not early
//	replicas  all nodes, and a replay of the log from nothing, decide the same
//	          and have the same hash at the same entry, whatever the batches,
//	          crashes and snapshots
//	disk      a node starts again from what a crash left, and its log reaches back
//	          to its state
//	live      once everything is whole, everything ends
//	panic     nothing panics
//
// # The checks bite
//
// TestMutations builds the simulation with farm broken on purpose, one fault at
// a time, and has it found. The first is the check that found each; how many
// histories it took depends on the plan, most took fewer than twenty.
//
//	a report is accepted whatever its attempt                          fence
//	a report is accepted whatever it built on                          fence
//	a finished task can be submitted again                             durable
//	a change is applied twice                                          once
//	tasks of a lost worker are queued in map order                     replicas once
//	a task that waited is charged an attempt                           blame
//	an attempt is charged for an earlier one                           blame
//	a task that kills its workers is never parked                      blame
//	the clock runs back                                                clock
//	a delayed task begins early                                        delay
//	a delayed task is lost                                             live
//	a deadline is forgotten                                            deadline
//	a retry does not wait                                              delay
//	a task goes when the first it runs after has ended                 after
//	those that wait for a task are not told                            live
//	a slot is not given back                                           slots
//	a task that failed once is not folded                              job
//	a retry folds what was not owed                                    job
//	what was retried can be retried again                              job
//	a namespace's last comes first                                     order
//	the state on disk says it is further than it is                    replicas
//	a changed record is not written                                    replicas
//	entries are applied again after a restart                          replicas
//	the log is dropped before the state is on disk                     disk
//	a worker gets a part of a namespace after items were removed       once
//	a new leader does not send what the old one may not have sent      live
//	what a worker holds counts as begun                                blame
//	what a worker began is forgotten                                   live
//	what a refused report submits is taken                             once
//	what a failed attempt submits is taken                             once
//	what two tasks submit by one name is taken twice                   once
//	what a task submits is lost                                        once
//	a worker is not told that its success was taken for a failure      once
//	a rate forgets what it let through                                 limit
//	a queue that is paused goes on                                     limit
//	one too many of a queue runs                                       limit
//	a gate does not open by itself                                     live
//	a unique key is let go by a retry                                  unique
//	a task that put itself off comes back early                        delay
//	a task that puts itself off has failed                             snooze
//	a worker that is to be given nothing is given work                 drain
//	a worker has as many slots as ever                                 slots
//	a worker is given what it does not have                            labels
//	a task that is made live again has failed before                   retry
//	a task that is made live again does not take its unique key        unique
//	a job does not wait for a task that is made live again             job
package sim
