// Package chaos breaks farm on purpose and checks what it promises.
//
// It has five nouns. A cluster is a farm of real processes, with proxies between
// them and before them, so that connections can be cut, slowed and broken without
// privileges. A fault is something that is done to a cluster, shown to have
// happened, and undone. Traffic is clients that keep a cluster busy and write down
// every call before it is made and after it was answered. Checks compare what was
// written down with what the farm says, and with a model. A report says what was
// broken, what was checked, and which promise does not hold.
//
// A Scenario is a row of those: faults, traffic, duration, seed. The seed decides
// which faults come in which order and with what parameters. When a run finds a
// violation its folder is kept: the nodes' data, their logs, the history.
//
// The package knows farm only from outside: the processes, their API, their files.
// It is for Linux.
package chaos
