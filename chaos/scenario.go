package chaos

import (
	"slices"
	"time"
)

// Scenario is a row: faults under traffic.
type Scenario struct {
	Name  string
	About string
	// Faults by name. Each is injected once, in an order that the seed decides, and
	// then any of them until the time is over.
	Faults  []string
	Traffic Traffic
	Nodes   int // at least; 0: 3

	args      []string // more arguments of the nodes
	workers   int      // processes that serve handlers
	smallDisk bool     // one node's disk can be filled
	fixture   string   // archive with data to begin with
	refusals  bool     // the run proves nothing unless late reports were refused
	damages   bool     // the run proves nothing unless damage was found
}

// busy is the usual traffic: as much of everything as a small machine bears while
// it is being broken.
var busy = Traffic{Clients: 24, Mix: everyday, Pause: 30 * time.Millisecond}

// reading is traffic of reads above all.
var reading = Traffic{Clients: 24, Mix: map[string]int{opAdd: 20, opRead: 100, opSet: 4, opGet: 20, opSwap: 4}, Pause: 20 * time.Millisecond}

// Scenarios are all there are, in the order in which "all" runs them.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "contexts", About: "processes that run tasks die, killed by the harness and by their tasks",
			Faults: []string{"kill-context", "kill-context", "kill-context"}, Traffic: Traffic{Clients: 24, Mix: with(everyday, map[string]int{opKill: 6, opLong: 20, opFail: 6}), Pause: 20 * time.Millisecond}},
		{Name: "nodes", About: "single nodes die", Faults: []string{"kill-node", "kill-leader"}, Traffic: busy},
		{Name: "majority", About: "most nodes, or all, die at once", Faults: []string{"kill-majority", "kill-all"}, Traffic: busy},
		{Name: "pauses", About: "leaders stand still, and take themselves for leaders when they go on", Faults: []string{"pause-leader", "pause-leader"}, Traffic: reading},
		{Name: "zombies", About: "workers stand still until they are given up, and then report what they did", Faults: []string{"pause-worker"},
			Traffic: Traffic{Clients: 16, Mix: with(everyday, map[string]int{opLong: 20}), Pause: 40 * time.Millisecond}},
		{Name: "blame", About: "nodes die that run one task and hold more", Faults: []string{"kill-busy", "kill-busy"}, Traffic: Traffic{Clients: 4, Mix: map[string]int{opAdd: 10, opRead: 10}, Pause: 50 * time.Millisecond}},
		{Name: "partitions", About: "nodes, and clients, are cut off, in both directions or one", Faults: []string{"partition-leader", "partition-node", "deaf-leader", "mute-leader", "partition-client"}, Traffic: busy, refusals: true},
		{Name: "network", About: "slow and lossy links", Faults: []string{"slow-links", "lossy-links"}, Traffic: busy},
		{Name: "disk", About: "disks that are full, fail, or do not answer", Faults: []string{"disk-full", "log-error", "state-error", "disk-stall"},
			Traffic: Traffic{Clients: 24, Mix: with(everyday, map[string]int{opBig: 5, opBigGet: 5}), Pause: 20 * time.Millisecond}, smallDisk: true},
		{Name: "crashes", About: "nodes die at the worst moments of a write", Faults: []string{"crash-log", "crash-state", "crash-vote", "crash-complete", "crash-snapshot"}, Traffic: busy,
			args: []string{"--snapshot-entries", "400", "--snapshot-every", "500ms"}},
		{Name: "damage", About: "files at rest are not what was written", Faults: []string{"flip-log", "flip-state", "cut-log", "cut-state", "old-state"}, Traffic: busy, damages: true},
		{Name: "clock", About: "the leader's clock jumps", Faults: []string{"clock-jumps"}, Traffic: Traffic{Clients: 16, Mix: with(everyday, map[string]int{opDelayed: 20}), Pause: 30 * time.Millisecond}},
		{Name: "upgrades", About: "nodes are restarted one by one, leadership is handed on", Faults: []string{"rolling-restart", "stop-leader", "hand-over"}, Traffic: busy},
		{Name: "members", About: "nodes join, leave, and are replaced", Faults: []string{"add-node", "add-and-kill", "remove-node", "replace-node"}, Traffic: busy},
		{Name: "snapshots", About: "a node needs what the log does not have any more", Faults: []string{"install-snapshot"}, Traffic: Traffic{Clients: 8, Mix: everyday, Pause: 20 * time.Millisecond},
			args: []string{"--snapshot-entries", "400", "--snapshot-every", "500ms"}},
		{Name: "big", About: "large values, and nodes that die", Faults: []string{"kill-leader", "lossy-links", "kill-all", "crash-parts", "crash-parts"}, Traffic: Traffic{Clients: 12, Mix: map[string]int{opBig: 10, opBigGet: 10, opAdd: 5, opRead: 5}, Pause: 20 * time.Millisecond}},
		{Name: "queues", About: "what tasks ask of queues, times and handlers, while nodes and workers die", Faults: []string{"kill-handler-worker", "kill-leader", "kill-all", "pause-leader", "kill-handler-worker"},
			Traffic: Traffic{Clients: 24, Mix: map[string]int{opHandler: 10, opQueued: 40, opUnique: 20, opAfter: 10, opAdd: 5, opRead: 10, opAgain: 10}, Pause: 20 * time.Millisecond}, workers: 2},
		{Name: "oldest", About: "data of the oldest format that is supported", Faults: []string{"leave-oldest-format"}, Traffic: busy, Nodes: 1, fixture: "format-1"},
		{Name: "failover", About: "leaders die and are stopped: how long nothing is acknowledged", Faults: []string{"kill-leader", "stop-leader"},
			Traffic: Traffic{Clients: 16, Mix: map[string]int{opAdd: 10, opRead: 10, opSet: 10}, Pause: 10 * time.Millisecond}},
		{Name: "storm", About: "all of it, in any order", Faults: []string{"kill-context", "kill-node", "kill-leader", "kill-majority", "kill-all", "pause-leader", "pause-worker", "partition-leader", "partition-node", "deaf-leader", "mute-leader",
			"partition-client", "slow-links", "lossy-links", "log-error", "state-error", "rolling-restart", "stop-leader", "hand-over", "add-and-kill", "remove-node", "replace-node", "crash-log", "crash-state"}, Traffic: busy},
	}
}

// Find returns the scenario of a name.
func Find(name string) (Scenario, bool) {
	all := Scenarios()
	if i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name }); i >= 0 {
		return all[i], true
	}
	return Scenario{}, false
}
