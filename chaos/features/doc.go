// Package features has tests: what tasks, queues, jobs and views can be asked for
// keeps its meaning when the node that leads is killed in the middle of it.
package features
