# Everything that builds, checks or tests this repository, from a shell or in CI.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Modules of their own, so that what they need does not become the users' dependencies.
NESTED := examples/loadtree tests tests/deploy
# The race detector needs a C compiler; without one the tests run without it.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)
FUZZTIME ?= 20s
# Tests of processes mostly wait, so two packages run at a time; not beside others those that load both cores themselves.
ALONE := /(hostile|differential)$$
# make chaos: a percentage, how many clusters side by side, and the parts to run: engine simulation cells failover power-cuts failed-syncs follower-behind seeded-bugs
export CHAOS_SCALE ?= 100
export CHAOS_PARALLEL ?= 3
CHAOS_PARTS ?=
LIFE_ROUNDS ?= 10

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## static programs into bin/
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/...

# What a release says of itself: given by whoever builds without the clone, as the Dockerfile does.
VERSION ?=
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)$(shell git diff --quiet HEAD 2>/dev/null || echo -changed)
DATE ?= $(shell git log -1 --format=%cI 2>/dev/null)
OUT ?= bin/release
BUILD := github.com/lightning-db/lightning/internal/build
STAMPS = $(if $(VERSION),-X $(BUILD).version=$(VERSION)) -X $(BUILD).commit=$(COMMIT) -X $(BUILD).date=$(DATE)

.PHONY: release
release: ## static, stripped, reproducible programs into OUT (bin/release); VERSION, COMMIT and DATE are stamped
	mkdir -p $(OUT)
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -buildid= $(STAMPS)' -o $(OUT)/ ./cmd/...

.PHONY: reproducible
reproducible: ## build twice, from two folders and with two empty caches, and compare
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	for n in 1 2; do \
		git clone -q . "$$scratch/clone-$$n"; \
		GOCACHE="$$scratch/cache-$$n" $(MAKE) -s -C "$$scratch/clone-$$n" release OUT="$$scratch/out-$$n"; \
	done; \
	(cd "$$scratch/out-1" && sha256sum *) | tee "$$scratch/sums"; \
	(cd "$$scratch/out-2" && sha256sum -c "$$scratch/sums")

.PHONY: quick
quick: ## the inner loop: vet, policy, tests of the packages changed since origin
	go vet ./...
	go test ./internal/policy
	@packages=$$(.ci/changed-packages); \
	if [[ -n $$packages ]]; then echo "go test" $$packages; go test $$packages; else echo "no package changed"; fi

.PHONY: lint
lint: ## gofmt, go vet and staticcheck over all modules
	@unformatted=$$(gofmt -l .); \
	if [[ -n $$unformatted ]]; then echo "not formatted by gofmt:" $$unformatted; exit 1; fi
	@for module in . $(NESTED); do \
		echo "lint $$module"; \
		(cd $$module && go vet ./... && go run $(STATICCHECK) ./...); \
	done
	go vet -tags seededbug ./internal/seededbug
	cd bench && go vet ./cluster ./caches # not its peers, nor bench/engine with its own: they take minutes to compile

.PHONY: clients
clients: ## the packages of the Node.js clients that tests run, by their lock files
	@for lock in $$(git ls-files '*package-lock.json'); do \
		(cd $$(dirname $$lock) && npm ci --ignore-scripts --no-audit --no-fund </dev/null); \
	done

.PHONY: test
test: clients ## every test that CI runs: units, policy, fuzz corpora, then clusters of real processes
	go test $(RACE) -timeout 10m ./...
	cd examples/loadtree && go test ./...
	cd tests/deploy && go test -v -count=1 -timeout 10m ./...
	cd tests && go test -v -count=1 -p 2 -timeout 15m $$(go list ./... | grep -vE '$(ALONE)') # -v: what is measured is printed
	cd tests && go test -v -count=1 -p 1 -timeout 15m $$(go list ./... | grep -E '$(ALONE)')

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME (20s)
	@for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

.PHONY: chaos
chaos: ## every fault on every workload, kills, power cuts: over an hour, or CHAOS_SCALE percent of it; prints a page
	.ci/chaos $(CHAOS_PARTS)

.PHONY: life
life: ## clusters grow, heal, shrink, drain and move for LIFE_ROUNDS (10) rounds under kills, on 3 and 64 shards; prints figures
	cd tests && go test -count=1 -v -timeout 0 ./life -life.rounds $(LIFE_ROUNDS) -life.replace -life.moves 20 -life.drains 3 -life.dead
	cd tests && go test -count=1 -v -timeout 0 -run 'UnderKills|LeadersOfMany' ./life -life.rounds $(LIFE_ROUNDS) -life.replace -life.shards 64 -life.leaders 30s

.PHONY: ready-time
ready-time: ## print how long three nodes take until they serve
	cd tests && go test -count=1 -v -timeout 5m -run 'TestThreeNodesAnswerPingWithinTenSeconds' ./scenarios

.PHONY: idle-cost
idle-cost: ## print what idle groups cost: CPU and memory of three nodes with 4, 16, 64 and 256 groups
	cd tests && go test -count=1 -v -timeout 20m ./idle -idle.groups 4,16,64,256 -idle.pause 10s -idle.for 20s

.PHONY: expiry
expiry: ## a million keys that expire within a minute: print what reads cost before and during it
	cd tests && go test -count=1 -v -timeout 20m -run 'TestKeysThatExpireTogether' ./scenarios -expiry.keys 1000000 -expiry.within 1m

.PHONY: bench-cluster
bench-cluster: ## Lightning DB beside etcd, NATS and Redis, three processes each: a table and the ratios
	cd bench && go run ./cluster

.PHONY: bench-caches
bench-caches: ## shares of hits of cache policies and of the engine's caches, beside the optimum: five minutes
	cd bench && go run ./caches

.PHONY: bench-engine
bench-engine: ## the engine beside Pebble, Badger, bbolt and LMDB in one process each: a table and the ratios; about an hour
	cd bench/engine && go run .

.PHONY: proto
proto: ## generate Go from api/*/*.proto (needs protoc, protoc-gen-go, protoc-gen-go-grpc)
	protoc -I . \
		--go_out=. --go_opt=module=github.com/lightning-db/lightning \
		--go-grpc_out=. --go-grpc_opt=module=github.com/lightning-db/lightning \
		api/*/*.proto
