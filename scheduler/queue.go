package scheduler

// DefaultQueue is the queue of tasks that name none.
const DefaultQueue = "default"

// queue is tasks that are limited, paused and counted together.
type queue struct{ name string }
