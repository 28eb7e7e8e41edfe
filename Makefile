# One entry for everything. `make` lists the targets.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := help

BIN      := .build/statelift
SOURCES  := $(wildcard cmd pipeline stages templates fixtures)
# A workspace remembers the version that made it, so two states of the tree need
# two versions.
VERSION  ?= $(shell git describe --tags --always 2>/dev/null || echo unknown)$(shell git diff --quiet HEAD 2>/dev/null || git diff HEAD | sha256sum | cut -c1-9 | sed 's/^./-&/')
FUZZTIME ?= 10s
HOSTS    ?= $(patsubst fixtures/hosts/%/packages,%,$(wildcard fixtures/hosts/*/packages))
# The modules beside the main one, each with a go.mod of its own.
MODULES  := $(patsubst %/go.mod,%,$(wildcard fixtures/*/go.mod fixtures/hosts/*/src/*/go.mod))

# What tests and benchmarks are told of the outside: the tools that
# fixtures/setup built and the hosts that fixtures/hosts/build built.
TOOLS = STATELIFT_TOOLS=$$(fixtures/setup) && export STATELIFT_TOOLS
HOST  = for h in $(HOSTS); do dir=$$(fixtures/hosts/build $$h) && export STATELIFT_HOST_$${h^^}=$$dir || exit 1; done
# One host is shown, and one is measured.
demo bench: HOSTS := wordpress

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## compile statelift into .build/
	@mkdir -p .build
	@CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/statelift
	@echo "built $(BIN)"

# Tests of seconds each, of whole hosts and of far sides that break: the quick
# loop leaves them to `make test`.
SLOW = ^Test(.*Killed.*|NoSecretLeaves|EveryDecisionHasAnEffect|Accuracy|.*Break|.*Damage.*|FarAndWide|ChangesWhileItRuns|DownloadFails|S3.*|DirConformance|$\
	PublicToolsReadASeed|VerifyFindsEveryFlippedByte|Build(Resumes|Is|Shares).*|ManyBlobs|DecompressionBomb|SameAgain|WalkSeesWhatFindSees|$\
	ADamagedBlobLeavesNoContent|InterruptedCopiesEndTheSame|CopyMemory|CopyThrough.*|Carriers|DatabaseApart|WhoHasWhat|Through.*|$\
	StoppedAndBroken|Prove.*|Shards.*|HostileArchives|Nothing.*|Hostile|WalkOfManyNames.*|$\
	PlannedNames.*|PushRetries|CopyFromEachPlace|WhatChangedSinceTheScan.*|AChangedSource.*|LayoutIsSound|NoPlantedString|SMBShare|$\
	TarUnpacksTheSource|CopyWithout.*|CopyRefuses|VolumeThatStartsEmpty|HTTP|Exec|$\
	ReceiptsAreTheSame.*|ReceiptIsChecked.*|CopyIsEqual.*|CopyToANewFileSystem|PackagedFilesAgainstDpkg|EveryPathOfTheHost|ObjectsAre.*|$\
	RecheckSeesTheHost|RunAgain|Gzip|AShardOfAFullDirectory|OnlyTheRootsTimeIsLeft|AResumedCopy.*|BucketsThatRefuse|Push|ChangedSinceTheScan|Resume|ADynamicProgram|WhereTo|Wrapper|DamagedHere)$$|^TestScripts$$/^(bad-|locked|changed)

.PHONY: check
check: ## the quick loop: format, vet, lint, unit tests, under a minute
	@$(MAKE) format vet
	@$(TOOLS) && "$$STATELIFT_TOOLS/staticcheck" -tags e2e ./... && go test -short -p 3 -vet=off -ldflags=-w -skip '$(SLOW)' ./...

.PHONY: test
test: build ## every test, with all the set-up it needs
	@$(TOOLS)
	@$(MAKE) format vet
	@$(TOOLS) && "$$STATELIFT_TOOLS/staticcheck" -tags e2e ./...
	@$(HOST)
	@$(MAKE) -j2 race e2e

# Runs beside e2e, which waits for Pods half of its time.
.PHONY: race
race: build ## all tests but those in the cluster, under the race detector
	@$(TOOLS) && $(HOST) && STATELIFT_BINARY=$(CURDIR)/$(BIN) go test -race -timeout 80m ./...
	@$(TOOLS) && for m in $(filter-out $(CLUSTER),$(MODULES)); do (cd $$m && go vet ./... && go test -timeout 30m ./...); done

# Tests with the build tag e2e use the test cluster, and so do those of its own
# module; the others of the same packages were run before. It goes down after them
# unless it was up already. E2E chooses packages. Those of their tests that mostly
# wait are parallel.
CLUSTER = fixtures/cluster
BED = { (cd $(CLUSTER) && go run ./cmd/bed env) >/dev/null 2>&1 || \
	{ trap '(cd $(CLUSTER) && go run ./cmd/bed down)' EXIT; (cd $(CLUSTER) && go run ./cmd/bed up) >/dev/null; }; } && \
	eval "$$(cd $(CLUSTER) && go run ./cmd/bed env)"
CLUSTERTESTS = $(shell grep -rl --include=*_test.go '^//go:build e2e' $(SOURCES))
E2E ?= $(sort $(dir $(CLUSTERTESTS)))
NAMES = $$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' $(CLUSTERTESTS) | paste -sd '|')
.PHONY: e2e
e2e: build ## the part of test that is done in a real cluster
	@$(TOOLS) && (cd $(CLUSTER) && go vet ./... && go test -timeout 30m ./...)
	@$(TOOLS) && $(HOST) && $(BED) && STATELIFT_BINARY=$(CURDIR)/$(BIN) && export STATELIFT_BINARY && \
	go test -tags e2e -p 1 -parallel 3 -timeout 80m -run "^($(NAMES))$$" $(addprefix ./,$(E2E))

.PHONY: demo
demo: build ## rehearse the migration of a real host, and show what came out
	@$(TOOLS) && $(HOST) && fixtures/demo

.PHONY: demo-cluster
demo-cluster: build ## lift a real host into a real cluster, and ask it for its front page
	@$(TOOLS) && $(HOST) && $(BED) && fixtures/demo-cluster

.PHONY: bench
bench: build ## measure statelift beside public tools
	@$(TOOLS) && $(HOST) && go run ./fixtures/bench

.PHONY: bench-cluster
bench-cluster: build ## measure copies into a cluster beside public tools
	@$(TOOLS) && $(HOST) && $(BED) && go run ./fixtures/benchcluster

.PHONY: bench-sync
bench-sync: build ## measure sync rounds beside rsync, and the downtime of a cutover
	@$(TOOLS) && $(HOST) && $(BED) && go run ./fixtures/benchsync

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	@grep -rn --include='*_test.go' '^func Fuzz' $(SOURCES) | sed -E 's|^(.*)/[^/]*:[0-9]+:func (Fuzz[A-Za-z0-9_]*).*|\1 \2|' | \
	while read -r dir name; do \
		echo "fuzz $$dir $$name"; \
		(cd $$dir && go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -parallel 2 . | tail -n 2); \
	done

.PHONY: hosts
hosts: ## build the legacy hosts of the tests, and print where they are
	@$(TOOLS) && for h in $(HOSTS); do fixtures/hosts/build $$h; done

# A real Kubernetes of one node, with registry and S3 server; see
# fixtures/cluster/doc.go. KUBECONFIG=$(make cluster)
.PHONY: cluster cluster-down
cluster: ## bring the test cluster up, and print the KUBECONFIG to use
	@$(TOOLS) && cd fixtures/cluster && go run ./cmd/bed up
cluster-down: ## take the test cluster down again
	@cd fixtures/cluster && go run ./cmd/bed down

.PHONY: format vet
format:
	@bad=$$(gofmt -l $(SOURCES)); [ -z "$$bad" ] || { echo "not formatted (gofmt -w):"; echo "$$bad"; exit 1; }
vet:
	@go vet -tags e2e ./...

.PHONY: clean
clean: ## remove what was built here; the cache outside stays
	@rm -rf .build
