// Package form puts what clients and workers ask for into commands of the
// scheduler, and its state into what clients see. Nodes and the farm in memory that
// users test with share it, so that both understand the same requests in the same
// way. It assumes nothing of where the state is, and never reads a clock: who calls
// it holds the state still, and says what time it is.
package form

import (
	"farm/api"
	"farm/scheduler"
)

// Code is what a client is told of a command that was refused.
func Code(c scheduler.Code) api.Code {
	switch c {
	case scheduler.NotFound:
		return api.Code_NOT_FOUND
	case scheduler.Conflict, scheduler.Stale:
		return api.Code_CONFLICT
	case scheduler.Limit:
		return api.Code_LIMIT
	}
	return api.Code_INVALID
}
