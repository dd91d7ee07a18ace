// Package cluster runs a farm on this machine: several node processes started
// from one binary, their data, addresses and logs under one folder.
//
// It is for whatever needs a real farm of its own: "farm dev", a command that
// was given no address, tests that kill things, measurements. It assumes Linux
// and a binary whose "node" verb is farm's. It never touches processes that it
// did not start, and never the data of nodes.
//
// The folder holds, for i from 1:
//
//	lock          held (flock) as long as a process runs the farm
//	users         held shared by commands that use somebody else's farm
//	nodes.json    the nodes and their addresses, the same at every start
//	cluster.json  addresses and process ids while the farm is ready, and no longer
//	n<i>/         data of a node
//	n<i>.log      what it said
package cluster
