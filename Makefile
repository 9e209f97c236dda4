# Everything a developer types. `make help` lists it.
#
# Needed: Rust 1.95 or newer, Go 1.26 or newer to build the control plane that
# the tests run on, a C compiler, and ssh-keygen for the tests. The first `make test` or `make demo` builds that control plane, which
# takes about a quarter of an hour on two cores, and `make test` the controllers of Flux and Argo CD, which takes as long again; what
# was built is kept outside the checkout.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# There is no unsafe code for a sanitizer to find fault with, and without one it is faster.
FUZZ_SECONDS ?= 30
IMAGE ?= ghcr.io/assent-dev/assent:dev

.DEFAULT_GOAL := help
.PHONY: help build demo test test-versions fuzz bench chaos chaos-known-bad krew lint generate manifests pictures image controlplane gitops node

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the operator and the kubectl plugin into target/release
	$(CARGO) build --locked --release --package assent

demo: $(if $(filter existing,$(ASSENT_DEMO_CLUSTER)),,controlplane) ## Show it all on a control plane of its own, in under two minutes once built
	@$(CARGO) build --quiet --locked --workspace --bins
	@ASSENT_BINARIES=$(TARGET)/debug $(TARGET)/debug/demo

test: controlplane gitops node ## Run every test, on a real control plane
	ASSENT_BINARIES=$(TARGET)/debug $(CARGO) test --locked --workspace

test-versions: controlplane ## Run a short suite on older Kubernetes versions; ARGS=1.30 for one of them
	@for version in 1.30 1.33 1.35 1.36; do tests/controlplane/build kubernetes-$$version >/dev/null || exit 1; done
	@$(CARGO) build --quiet --locked --workspace --bins
	ASSENT_BINARIES=$(TARGET)/debug $(CARGO) test --locked --package assent-tests --test versions -- $(ARGS)

fuzz: ## Fuzz every parser and the runtime match, each for FUZZ_SECONDS (30)
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked"; exit 1; }
	@rustup run nightly rustc --version >/dev/null || { echo "it needs a nightly compiler: rustup toolchain install nightly"; exit 1; }
	@cd fuzz && cargo +nightly fuzz build --sanitizer none && for target in $$(cargo +nightly fuzz list); do \
	 mkdir -p corpus/$$target && echo "fuzzing $$target for $(FUZZ_SECONDS) s" && \
	 cargo +nightly fuzz run --sanitizer none $$target corpus/$$target seeds/$$target -- \
	  -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -verbosity=0 -print_funcs=0 -print_final_stats=1 || exit 1; done

bench: controlplane ## Measure it, as ratios to a floor of the same run; table, target/bench.json and docs/performance.svg
	@$(CARGO) build --quiet --locked --release --workspace --bin assent --bin bench
	@ASSENT_BINARIES=$(TARGET)/release $(TARGET)/release/bench --chart docs/performance.svg

chaos: controlplane ## Break everything at random while a witness watches; ARGS="--seed 7 --seeds 1 --seconds 60"
	@$(CARGO) build --quiet --locked --workspace --bins
	@ASSENT_BINARIES=$(TARGET)/debug $(TARGET)/debug/chaos $(ARGS)

chaos-known-bad: controlplane ## See that a build which releases anything is caught
	@tests/chaos/known-bad $(ARGS)

# Of the commits that are not upstream yet, or of the last one.
TITLES := $(shell git rev-parse --verify --quiet '@{upstream}' >/dev/null 2>&1 && echo '@{upstream}..HEAD' || echo '-1 HEAD')

lint: ## Check format, lints, commit titles, the chart and the dependencies
	@git log --format=%s $(TITLES) | awk 'length > 72 { print "commit title over 72 characters: " $$0; bad = 1 } END { exit bad }'
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- --deny warnings
	@$(CARGO) metadata --locked --format-version 1 --manifest-path fuzz/Cargo.toml >/dev/null
	"$$(tests/controlplane/build)/helm" lint --strict charts/assent
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; \
	 else echo "cargo-deny is not installed, dependencies are not checked: cargo install cargo-deny"; fi

generate: ## Write what is generated from the source: crds/ and parts of the chart
	ASSENT_UPDATE=1 $(CARGO) test --quiet --locked --package assent --test generated

pictures: controlplane ## Draw the terminal pictures of the docs from real runs
	@$(CARGO) build --quiet --locked --workspace --bins
	@ASSENT_BINARIES=$(TARGET)/debug $(TARGET)/debug/pictures

krew: build ## Pack the plugin for krew, on this platform: target/krew
	@packaging/krew/pack $(TARGET)/release/kubectl-assent $(TARGET)/krew

manifests: controlplane ## Render the chart as plain manifests, for kubectl apply: target/manifests; ARGS="--set …"
	@PATH="$$(tests/controlplane/build):$$PATH" packaging/manifests $(TARGET)/manifests $(ARGS)

image: ## Build the operator's image
	docker build --tag $(IMAGE) .

controlplane: ## Build the control plane that tests, demo and benchmark run on
	@tests/controlplane/build >/dev/null

# Tests that need a real node are skipped where none can run; its programs are built all the same.
node:
	@tests/controlplane/build node kubelet >/dev/null

gitops:
	@tests/controlplane/build flux >/dev/null
	@tests/controlplane/build argocd >/dev/null
