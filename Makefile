# What a person needs: run, test, bench, lint, demo. Everything else is cargo.
# `make setup` is part of each of them: it installs the system packages that are missing and
# compiles RocksDB once into a cache outside the clone.

CARGO ?= cargo
SHELL := /bin/bash

.PHONY: run test bench lint fmt demo crash failpoints burst partition resize rolling encryption
.PHONY: pool simulate fuzz jepsen jepsen-planted power setup build clean help

help: ## these lines
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## system packages, RocksDB archive, .cargo/config.toml
	@.ci/setup

build: setup ## the release program, target/release/portolan
	$(CARGO) build --release --locked

run: build ## one node with temporary data on loopback: HTTP 8500, DNS 8600
	target/release/portolan agent --dev

test: setup ## everything that CI runs
	.ci/test

lint: setup ## formatting, clippy and documentation, changing nothing
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --workspace --no-deps --locked

fmt: ## formats the code
	$(CARGO) fmt --all

demo: build ## three nodes, containers with checks, a leader killed, DNS before and after
	.ci/demo target/release/portolan

crash: setup ## 200 rounds of kill -9 under a writing load, replicas compared
	PORTOLAN_CRASH_ROUNDS=$${ROUNDS:-200} $(CARGO) test --locked --test all crash -- --nocapture

failpoints: setup ## three servers die at each point in the code, one after another, under a load
	$(CARGO) test --locked --features failpoints --target-dir target/failpoints --test all failpoints:: -- --nocapture

burst: build ## 5,000 registrations at once, 10,000 idle reads; the real Consul beside
	.ci/peers
	PORTOLAN_BURST_SERVICES=5000 PORTOLAN_IDLE_READS=10000 \
	PORTOLAN_TEST_BINARY=$(CURDIR)/target/release/portolan $(CARGO) test --locked --test all load:: -- --nocapture

# The process tests of this name, at full length, against the release program.
AT_LENGTH = PORTOLAN_TEST_BINARY=$(CURDIR)/target/release/portolan \
	$(CARGO) test --locked --test all $@:: -- --nocapture

partition: build ## five servers in network namespaces, every cut three times
	PORTOLAN_PARTITION_ROUNDS=$${ROUNDS:-3} $(AT_LENGTH)

resize: build ## one server to five to three under 1,000 writes a second and more
	PORTOLAN_RESIZE_WRITERS=$${WRITERS:-64} $(AT_LENGTH)

rolling: build ## three servers restarted and replaced one at a time, three times, under load
	PORTOLAN_ROLLING_ROUNDS=$${ROUNDS:-3} $(AT_LENGTH)

encryption: build ## five nodes under a key that changes every 10 s, for five minutes
	.ci/peers
	PORTOLAN_ROTATION_SECONDS=$${DURATION:-300} $(AT_LENGTH)

pool: setup ## simulated pools of 1,000 and of 5,000 members: hours
	PORTOLAN_POOL_MEMBERS=$${MEMBERS:-1000,5000} PORTOLAN_POOL_LOSS=$${LOSS:-0,10,100} \
	$(CARGO) test --release --locked --lib gossip::sim::the_dead -- --nocapture

simulate: setup ## servers on simulated disks and networks, from seeds: FROM, SEEDS, JOBS
	$(CARGO) build --locked --profile sim -p portolan-sim
	target/sim/portolan-sim run --from $${FROM:-1} --seeds $${SEEDS:-20000} --jobs $${JOBS:-2}

fuzz: setup ## every parser of strangers' bytes under libFuzzer: TARGET, SECONDS for each
	CARGO="$(CARGO)" .ci/fuzz $(or $(SECONDS),15) $(TARGET)

jepsen: build ## the harness at length: calibration on the real peers, power cuts, a soak of MINUTES
	.ci/peers
	$(CARGO) build --release --locked -p portolan-jepsen
	target/release/portolan-jepsen calibrate
	$(MAKE) power
	target/release/portolan-jepsen soak --ledger $${LEDGER:-target/ledger.jsonl} --minutes $${MINUTES:-60}

power: build ## 100 power cuts of one server, and 100 of three
	$(CARGO) build --release --locked -p portolan-jepsen
	target/release/portolan-jepsen power --target ours --nodes 1 --cuts $${CUTS:-100} --mode mixed
	target/release/portolan-jepsen power --target ours --nodes 3 --cuts $${CUTS:-100} --mode mixed

jepsen-planted: setup ## every planted bug: what found it, and after how many seeds
	.ci/planted

bench: setup ## side by side with the real Consul and etcd: throughput, latency, memory
	$(CARGO) build --release --locked -p portolan -p portolan-bench
	.ci/peers
	target/release/portolan-bench $(BENCH)

clean: ## build results; the RocksDB cache stays
	$(CARGO) clean
