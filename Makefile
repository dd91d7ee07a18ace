# farm's chores. "make help" prints the comments that begin with two signs.
# Needed: Go, git, make; a C compiler for the race detector. Everything else is
# a Go module pinned in go.mod or tools/go.mod and fetched by the go command.

GO     ?= go
# The race detector makes tests slower: the packages where goroutines meet.
RACE   ?= ./fsm/... ./replica/... ./worker/... ./tasks/... ./internal/...
# What "make bench", "make chaos" and "make failover" pass on, for example BENCH=--json,
# CHAOS="--log-store boltdb"; what "make mutation" breaks.
BENCH  ?=
ROUNDS ?= 5
CHAOS  ?=
NAME   ?=
# What "make gotest" passes on, and which programs: SAMPLE=10 is every tenth.
GOTEST ?=
SAMPLE ?= 1
# How long "make sim" searches, and from which history on; without SEED from any.
SECONDS ?= 60
SEED    ?= 0
# What "make gotest" measures: cells on ssa or yaegi, or programs, the virtual machine with packages that cells
# do not have; and how many programs may be wrong.
ENGINE ?= ssa
WRONG  ?= 40
LINT   := $(GO) tool -modfile=tools/go.mod golangci-lint

.DEFAULT_GOAL := help

.PHONY: help
help: ## print what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the farm command into bin/farm
	$(GO) build -o bin/farm ./cmd/farm

.PHONY: deps
deps: # the Go modules of go.mod, into the module cache
	$(GO) mod download

.PHONY: test
test: deps ## vet, then run every test
	$(GO) vet ./...
	$(GO) test -timeout 30m ./...

.PHONY: test-race
test-race: ## run the tests of the concurrent packages with the race detector
	$(GO) test -race $(RACE)

.PHONY: gotest
gotest: ## run Go's own test programs: SAMPLE=10 for every tenth, ENGINE=yaegi; the list is in bin/gotest.json
	@mkdir -p bin
	$(GO) build -o bin/gotest ./namespace/gotest
	bin/gotest -engine $(ENGINE) -sample $(SAMPLE) -wrong $(WRONG) -out bin/gotest.json $(GOTEST)

.PHONY: test-unsafe
test-unsafe: ## run the tests of the virtual machine with checked pointers, and with freed memory overwritten
	$(GO) test -count=1 -gcflags=all=-d=checkptr ./namespace/vm/...
	GOGC=1 GODEBUG=clobberfree=1 $(GO) test -count=1 ./namespace/vm/...

.PHONY: lint
lint: ## golangci-lint, gofmt included, with .golangci.yml; the first time builds it
	$(LINT) run

.PHONY: generate
generate: ## write the generated files anew: protobuf, type data, example texts
	$(GO) generate ./...

# Compares the checkout before and after, so it works with changes not committed.
.PHONY: check-generate
check-generate: ## fail when "make generate" changes anything
	@state() { git diff --binary; git ls-files -o --exclude-standard | while IFS= read -r f; do echo "$$f $$(git hash-object "$$f")"; done; }; \
	  before=$$(state | git hash-object --stdin); \
	  $(MAKE) generate; \
	  after=$$(state | git hash-object --stdin); \
	  if [ "$$before" != "$$after" ]; then git status --short; echo "generated files are stale: run make generate and commit"; exit 1; fi

.PHONY: bench
bench: build ## measure farm on this machine: BENCH="--seconds 5 --json"
	bin/farm bench $(BENCH)

.PHONY: bench-engines
bench-engines: ## measure the engines of contexts against compiled Go and CPython, in turn: ROUNDS=9
	$(GO) test -run XXX -bench Engines -benchtime $(ROUNDS)x ./namespace/bench

.PHONY: chaos
chaos: build ## break real nodes for 20 minutes and check the promises: CHAOS="--scenario pauses --minutes 40"
	bin/farm chaos --minutes 20 $(CHAOS)

.PHONY: failover
failover: build ## kill and stop leaders for 8 minutes: how long nothing is acknowledged
	bin/farm chaos --scenario failover --minutes 8 $(CHAOS)

.PHONY: mutation
mutation: ## break farm on purpose and see that chaos notices: NAME=fence, NAME=all; without NAME they are listed
	$(GO) run ./chaos/mutations $(NAME)

.PHONY: sim
sim: ## simulate farms in one process, thousands of histories a minute: SECONDS=60 SEED=1
	@mkdir -p bin
	$(GO) build -o bin/simulate ./chaos/sim/simulate
	bin/simulate -seconds $(SECONDS) -seed $(SEED) -keep bin/sim-failed.txt

.PHONY: sim-mutations
sim-mutations: ## break farm on purpose, one fault after the other: the simulation must find each
	$(GO) test -count=1 -v -run Mutations -timeout 30m ./chaos/sim -args -mutations

.PHONY: examples
examples: build ## run the examples on a farm of their own, in a temporary folder
	FARM=$(CURDIR)/bin/farm sh examples/run.sh

.PHONY: clean
clean: ## remove what was built; .farm, which holds data, stays
	rm -rf bin
	$(GO) clean -testcache
