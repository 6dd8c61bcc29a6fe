# Latchkey. `make test` on a fresh Debian machine does everything; `make` lists the targets.
GO       ?= go
FUZZTIME ?= 10s
SOAKTIME ?= 30m
BUDGET   ?= 25m

export GOTOOLCHAIN ?= local
build demo: export CGO_ENABLED = 0

.PHONY: help deps build check sizes imports mutations mutate test race fuzz peers bench bench-peers drills soak pictures demo

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

deps: ## install what the tests need (root on Debian; others are told what is missing)
	@.ci/deps

build: ## bin/latchkey
	@mkdir -p bin
	$(GO) build -trimpath -o bin/ ./cmd/...

check: sizes imports mutations ## gofmt, vet, staticcheck, the import test, sizes
	@out=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .) || exit 1; [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	$(GO) vet ./... ./.ci/testrun ./.ci/sizes ./.ci/mutate
	$(GO) tool staticcheck ./... ./.ci/testrun ./.ci/sizes ./.ci/mutate

sizes: ## the tail of file and function sizes, bounded
	@$(GO) run ./.ci/sizes

imports: ## who may import whom
	@$(GO) test -count=1 -run '^TestImports' .
	@$(GO) test -count=1 ./.ci/testrun

mutations: ## every mutation patch applies and compiles
	@$(GO) run ./.ci/mutate -check

mutate: ## take one security check after the other away: a test must turn red
	@GO="$(GO)" $(GO) run ./.ci/mutate

test: deps ## everything: check, build, race, peers, drills; times and skips at the end
	@GO="$(GO)" $(GO) run ./.ci/testrun -budget $(BUDGET)

race: ## all tests but those with real servers, drills and soak, under the race detector
	@GO="$(GO)" $(GO) run ./.ci/testrun -only race

peers: deps ## tests with Dovecot, Postfix, Radicale and real clients
	@GO="$(GO)" $(GO) run ./.ci/testrun -only peers

drills: ## kill -9, restarts, upstreams that fail; timing, a flood and a million rows at full length
	@GO="$(GO)" LATCHKEY_DRILLS=long $(GO) run ./.ci/testrun -only drills -budget 2h -figures

soak: ## hours in the life of a server, in SOAKTIME
	@GO="$(GO)" LATCHKEY_SOAK=$(SOAKTIME) $(GO) run ./.ci/testrun -only soak -budget 24h -figures

fuzz: ## every fuzz target for FUZZTIME
	@GO="$(GO)" $(GO) run ./.ci/testrun -only fuzz -fuzztime $(FUZZTIME) -budget 24h

bench: ## Go benchmarks, of the parts
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-peers: deps build ## Latchkey beside nginx and Dovecot, whole; BENCH="-short" and other flags; docs/performance.md says how
	./bin/latchkey-bench -json bin/bench.json $(BENCH)

pictures: deps ## the pictures of the console in docs/pictures, taken anew
	LATCHKEY_PICTURES=$(CURDIR)/docs/pictures $(GO) test -count=1 -run '^TestPeersConsole' ./cmd/latchkey

demo: build ## everything in one process on loopback
	./bin/latchkey demo
