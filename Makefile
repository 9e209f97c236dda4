# The commands for developers. `make help` lists them.
#
# Requirements: Rust 1.95 or newer, Go 1.26 or newer, a C compiler, and ssh-keygen for the tests. The first `make test`
# or `make demo` builds the Kubernetes control plane for the tests, which takes about 15 minutes on two cores.
# `make test` also builds the controllers of Flux and Argo CD, Prometheus, Alertmanager, the programs of a real node, and
# other people's verifiers of a record.
# These builds take another 20 minutes. The results are cached outside the checkout.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# `make test` runs `make demo` as a test. A second build would use other features of the dependencies and take minutes,
# so `demo` runs the binaries that ASSENT_BINARIES names.
BINARIES := $(or $(ASSENT_BINARIES),$(TARGET)/debug)
# The seconds of fuzzing for each target. Fuzzing uses no sanitizer, because the code has no `unsafe` and a sanitizer makes
# it slow.
FUZZ_SECONDS ?= 30
IMAGE ?= ghcr.io/assent-dev/assent:dev

.DEFAULT_GOAL := help
.PHONY: help build demo playground playground-stop test test-versions fuzz bench chaos chaos-known-bad krew lint generate manifests pictures image controlplane gitops alerting node verifiers

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the operator and the kubectl plugin into target/release
	$(CARGO) build --locked --release --package assent

demo: $(if $(filter existing,$(ASSENT_DEMO_CLUSTER)),,controlplane) ## Run the demo on its own control plane; about a minute after the first build
	@$(if $(ASSENT_BINARIES),,$(CARGO) build --quiet --locked --workspace --bins)
	@ASSENT_BINARIES=$(BINARIES) $(BINARIES)/demo

playground: controlplane $(if $(filter real,$(NODE)),node) ## Start a cluster with Assent that stays until `make playground-stop`; NODE=real adds a node that runs containers
	@$(if $(ASSENT_BINARIES),,$(CARGO) build --quiet --locked --workspace --bins)
	@ASSENT_BINARIES=$(BINARIES) $(BINARIES)/playground start --node $(or $(NODE),simulated)

playground-stop: ## Stop the cluster of `make playground`, and remove its files
	@$(BINARIES)/playground stop

test: controlplane gitops alerting node verifiers ## Run all tests, on a real control plane
	ASSENT_BINARIES=$(TARGET)/debug $(CARGO) test --locked --workspace

test-versions: controlplane ## Run a short test suite on older Kubernetes versions; ARGS=1.30 selects one
	@for version in 1.30 1.33 1.35 1.36; do tests/controlplane/build kubernetes-$$version >/dev/null || exit 1; done
	@$(CARGO) build --quiet --locked --workspace --bins
	ASSENT_BINARIES=$(TARGET)/debug $(CARGO) test --locked --package assent-tests --test versions -- $(ARGS)

fuzz: ## Fuzz the parsers and the runtime match, each for FUZZ_SECONDS (30)
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked"; exit 1; }
	@rustup run nightly rustc --version >/dev/null || { echo "fuzzing needs a nightly compiler: rustup toolchain install nightly"; exit 1; }
	@cd fuzz && cargo +nightly fuzz build --sanitizer none && for target in $$(cargo +nightly fuzz list); do \
	 mkdir -p corpus/$$target && echo "fuzzing $$target for $(FUZZ_SECONDS) s" && \
	 cargo +nightly fuzz run --sanitizer none $$target corpus/$$target seeds/$$target -- \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -verbosity=0 -print_funcs=0 -print_final_stats=1 || exit 1; done

bench: controlplane ## Measure performance as ratios to a baseline of the same run; prints a table, writes target/bench.json and docs/performance.svg
	@$(CARGO) build --quiet --locked --release --workspace --bin assent --bin bench
	@ASSENT_BINARIES=$(TARGET)/release $(TARGET)/release/bench --chart docs/performance.svg

chaos: controlplane ## Inject random faults and check the promises; ARGS="--seed 7 --seeds 1 --seconds 60"
	@$(CARGO) build --quiet --locked --workspace --bins
	@ASSENT_BINARIES=$(TARGET)/debug $(TARGET)/debug/chaos $(ARGS)

chaos-known-bad: controlplane ## Check that chaos detects a build that releases every pod
	@tests/chaos/known-bad $(ARGS)

# The commits whose titles `lint` checks: those that are not upstream yet. Without an upstream branch, the last commit.
TITLES := $(shell git rev-parse --verify --quiet '@{upstream}' >/dev/null 2>&1 && echo '@{upstream}..HEAD' || echo '-1 HEAD')

lint: ## Check the format, lints, commit titles, the chart and the dependencies
	@git log --format=%s $(TITLES) | awk 'length > 72 { print "commit title over 72 characters: " $$0; bad = 1 } END { exit bad }'
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	@$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	"$$(tests/controlplane/build)/helm" lint --strict charts/assent
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; \
	 else echo "cargo-deny is not installed, dependencies are not checked: cargo install cargo-deny"; fi

generate: ## Generate crds/ and parts of the chart from the source
	ASSENT_UPDATE=1 $(CARGO) test --quiet --locked --package assent --test generated

pictures: controlplane ## Generate the terminal pictures of the docs from real runs
	@$(CARGO) build --quiet --locked --workspace --bins
	@ASSENT_BINARIES=$(TARGET)/debug $(TARGET)/debug/pictures

krew: build ## Package the plugin for krew on this platform, into target/krew
	@packaging/krew/pack $(TARGET)/release/kubectl-assent $(TARGET)/krew

manifests: controlplane ## Render the chart as plain manifests for kubectl apply, into target/manifests; ARGS="--set …"
	@PATH="$$(tests/controlplane/build):$$PATH" packaging/manifests $(TARGET)/manifests $(ARGS)

image: ## Build the operator image
	docker build --tag $(IMAGE) .

controlplane: ## Build the control plane for the tests, the demo and the benchmark
	@tests/controlplane/build >/dev/null

# Builds the programs of a real node. A machine that cannot run a node skips the tests that need one.
node:
	@tests/controlplane/build node kubelet >/dev/null

gitops:
	@tests/controlplane/build flux >/dev/null
	@tests/controlplane/build argocd >/dev/null

alerting:
	@tests/controlplane/build prometheus alertmanager >/dev/null

verifiers:
	@tests/controlplane/build record >/dev/null
