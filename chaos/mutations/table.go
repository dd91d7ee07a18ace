package main

// mutation is one way to break farm on purpose.
type mutation struct {
	name     string
	what     string // is broken
	promise  string // the report must name, a part of it
	scenario string // that must find it
	minutes  int    // of it in a run; 0: as short as it is
	edits    []edit
}

// edit replaces text that occurs once in a file.
type edit struct{ file, old, new string }

// mutations are all there are. A check that none of them fails would prove nothing.
var mutations = []mutation{
	{
		name: "fence", what: "the report of a superseded attempt is believed", promise: "exactly once", scenario: "zombies",
		edits: []edit{
			{"scheduler/step.go", "t.State != Running || t.Attempt != c.Attempt || t.Worker != c.Worker || t.Incarnation != c.Incarnation {", "t.State != Running {"},
			{"scheduler/step.go", "n.tasks[0] != t || n.Epoch != c.Epoch || n.Version != c.Base)", "n.tasks[0] != t)"},
			{"replica/roster/roster.go", "		x.voided(id, has[id], \"\")\n	}\n	x.begun", "		_ = id\n	}\n	x.begun"},
		},
	},
	{
		name: "split-commit", what: "the index reaches the disk before the effects, in a transaction of its own", promise: "one state", scenario: "crashes",
		edits: []edit{{"fsm/store.go", "	if err := crash.Err(\"state.before-commit\"); err != nil {",
			"	ahead := &meta{p, s.durable.Load().totals}\n	if err := s.db.Update(func(tx *bbolt.Tx) error { return putMeta(tx, ahead) }); err != nil {\n		return err\n	}\n	if err := crash.Err(\"state.before-commit\"); err != nil {"}},
	},
	{
		name: "early-ack", what: "a submit is acknowledged before it is committed", promise: "durable", scenario: "partitions",
		edits: []edit{{"replica/calls.go", "	n.propose(cmd, func(r scheduler.Result, err error) {\n		switch {\n		case err != nil:\n			n.again(c, err)\n		case r.Code == scheduler.OK:\n			c.task(&api.Task{Id: s.Id",
			"	c.task(&api.Task{Id: s.Id, Namespace: s.Namespace, State: scheduler.Queued.String()})\n	n.propose(cmd, func(r scheduler.Result, err error) {\n		c := &call{Call: c.Call, reply: func(*api.Reply) {}}\n		switch {\n		case err != nil:\n		case r.Code == scheduler.OK:\n			c.task(&api.Task{Id: s.Id"}},
	},
	{
		name: "stale-read", what: "a leader reads without making sure that it still leads", promise: "linearizable", scenario: "pauses", minutes: 1,
		edits: []edit{{"replica/calls.go", "if err := n.raft.ReadBarrier(ctx); err != nil {", "if err := ctx.Err(); err != nil {"}},
	},
	{
		name: "blame", what: "tasks that wait on a worker lose an attempt with it", promise: "blame", scenario: "blame",
		edits: []edit{{"scheduler/place.go", "blamed := begun || (guess && i < int(w.Slots))", "blamed := i >= 0 || guess || begun"}},
	},
	{
		name: "dropped", what: "a new leader does not send workers what was given to them while nobody led", promise: "goes on", scenario: "upgrades",
		edits: []edit{{"replica/roster/roster.go", "		if has[t.ID] != t.Attempt {\n			x.assign(s, t)\n", "		if has[t.ID] != t.Attempt {\n"}},
	},
	{
		name: "map-order", what: "placement follows the order of a map", promise: "one state", scenario: "nodes",
		edits: []edit{{"scheduler/place.go", "	var best *Worker\n	for _, w := range p.workers {\n", "	var best *Worker\n	any := map[string]*Worker{}\n	for _, w := range p.workers {\n		any[w.ID] = w\n	}\n	for _, w := range any {\n"}},
	},
	{
		name: "submits", what: "what the report of a superseded attempt submits is taken in", promise: "exactly once", scenario: "zombies",
		edits: []edit{
			{"scheduler/step.go", "		return refuse(Stale, \"attempt %d of task %s is not the current one\", c.Attempt, c.Task)\n",
				"		for _, x := range c.Submits {\n			x.ID += \"/late\"\n			if t := s.Task(c.Task); t != nil && s.Task(x.ID) == nil {\n				s.accept(x, t)\n			}\n		}\n		return refuse(Stale, \"attempt %d of task %s is not the current one\", c.Attempt, c.Task)\n"},
			{"replica/roster/roster.go", "	for _, id := range slices.Sorted(maps.Keys(has)) {\n", "	clear(has)\n	for _, id := range slices.Sorted(maps.Keys(has)) {\n"},
		},
	},
	{
		name: "twice", what: "a repeated request is a new one when the first is done", promise: "exactly once", scenario: "nodes",
		edits: []edit{{"scheduler/step.go", "	if t := s.Task(c.ID); t != nil {\n		return Result{Code: Duplicate, Order: t.Order}", "	if t := s.tasks[c.ID]; t != nil {\n		return Result{Code: Duplicate, Order: t.Order}"}},
	},
	{
		name: "unique", what: "a unique key is let go when the worker of its task is lost", promise: "unique key", scenario: "queues",
		edits: []edit{{"scheduler/place.go", "		if t.Namespace == \"\" {\n			s.requeueFrom(t)\n", "		s.releaseKey(t, false)\n		if t.Namespace == \"\" {\n			s.requeueFrom(t)\n"}},
	},
	{
		name: "limit", what: "what is tried again begins whatever the limits", promise: "limits of queues", scenario: "queues",
		edits: []edit{
			{"scheduler/line.go", "func (s *State) begin(t *Task) {\n", "func (s *State) begin(t *Task) {\n	if t.Attempt > 1 {\n		return\n	}\n"},
			{"scheduler/line.go", "func (s *State) end(t *Task) {\n", "func (s *State) end(t *Task) {\n	if t.Attempt > 1 {\n		return\n	}\n"},
			{"scheduler/state.go", "		t.line.lane.queue.gate.running++\n		if k := t.line.key; k != nil {", "		if t.Attempt == 1 {\n			t.line.lane.queue.gate.running++\n		}\n		if k := t.line.key; k != nil && t.Attempt == 1 {"},
		},
	},
	{
		name: "rate", what: "what waits for a rate goes when another has gone", promise: "limits of queues", scenario: "queues",
		edits: []edit{{"scheduler/limit.go", "g.next = max(g.next, s.Clock) + b.Rate.interval()", "g.next = s.Clock + b.Rate.interval()/2"}},
	},
	{
		name: "pause", what: "a queue that is paused goes on while something of it runs", promise: "limits of queues", scenario: "queues",
		edits: []edit{{"scheduler/limit.go", "case g.key == nil && g.queue.paused:", "case g.key == nil && g.queue.paused && g.running == 0:"}},
	},
	{
		name: "rank", what: "the lower priority goes first", promise: "limits of queues", scenario: "queues",
		edits: []edit{{"scheduler/heap.go", "return a.Priority > b.Priority", "return a.Priority < b.Priority"}},
	},
	{
		name: "delay", what: "a delayed task begins when nearly all of its time is over", promise: "times and dependencies", scenario: "queues",
		edits: []edit{{"scheduler/step.go", "s.delayed.min().NotBefore <= s.Clock {", "s.delayed.min().NotBefore <= s.Clock+second/5 {"}},
	},
	{
		name: "after", what: "a task that runs after others goes when the first of them has ended", promise: "times and dependencies", scenario: "queues",
		edits: []edit{{"scheduler/after.go", "o.AfterWhen == AllFinished && live == 0,", "o.AfterWhen == AllFinished && live < all,"}},
	},
	{
		name: "tick", what: "a schedule leaves out what falls due while nobody leads", promise: "a schedule submits once", scenario: "queues",
		edits: []edit{{"replica/form/schedule.go", "case first > recent || policy == scheduler.CatchUpAll:", "case first > now-int64(time.Second):"},
			{"replica/form/schedule.go", "recent := now - int64(missedAfter)", "recent := now - int64(time.Second)"}},
	},
	{
		name: "mixed-up", what: "a worker mixes up results that it reports to the next leader", promise: "exactly once", scenario: "queues",
		edits: []edit{{"tasks/runner.go", "	for _, a := range again {\n", "	for _, a := range again {\n		a.report.Outcome = again[0].report.Outcome\n"}},
	},
}
