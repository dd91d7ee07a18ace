// Package api is farm's wire interface: the generated code of farm.proto and
// the sizes both sides agree on. It has no behaviour.
package api

//go:generate go run ./generate

// ClusterKey is the key of the metadata that names, in a call, the cluster it is meant
// for. A node of another cluster refuses the call with codes.FailedPrecondition.
const ClusterKey = "farm-cluster"

// LeaderKey is the key of the trailer in which a node that does not lead says where
// the leader is, to a worker that would attach.
const LeaderKey = "farm-leader"

// MaxMessage is the size in bytes of the largest message either side of any
// stream accepts; senders split batches below it.
const MaxMessage = 8 << 20

// MaxWorkerMessage is the size in bytes of the largest message to a worker,
// which may carry a whole namespace.
const MaxWorkerMessage = 48 << 20
