# The two commands of the README are `make demo` and `make test`.

CARGO ?= cargo
export CARGO_TERM_COLOR ?= auto

.PHONY: demo test lint bench soak systemd mysql session needs build

## Runs the main job on this machine: a server, three agents, a service in four versions, load all the time.
demo: needs
	$(CARGO) build --workspace --bins
	./target/debug/handover demo

## Runs every test but the slow ones (see soak, bench).
test: needs
	$(CARGO) build --workspace --bins
	$(CARGO) test --workspace --doc --quiet
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  $(CARGO) nextest run --workspace; \
	else \
	  echo "cargo-nextest is missing: falling back to cargo test ('cargo install --locked cargo-nextest' brings it)"; \
	  $(CARGO) test --workspace; \
	fi

## What CI checks before it runs the tests.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	./.ci/walls

## Prints a table of ratios, each measured in one run.
bench: needs
	$(CARGO) build --release --workspace --bins
	./target/release/bench

## The long runs: every test, the ignored ones as well, and each property on many more cases.
soak: needs
	$(CARGO) build --workspace --bins
	PROPTEST_CASES=2000 $(CARGO) nextest run --workspace --run-ignored all

## The units on a host with a systemd of its own: restarts, kills and a watchdog under load. Makes a small Debian the first time.
systemd: needs
	$(CARGO) build --workspace --bins
	./tests/systemd/try.sh target/debug

## The tests of MySQL's migrations on MySQL itself, which is brought from Debian's unstable release into target/mysql.
mysql: needs
	./tests/mysql/try.sh target/mysql

## Types the quick start of the README on a terminal and writes what that shows to docs/quick-start-session.txt.
session: needs
	$(CARGO) build --release --workspace --bins
	./target/release/record

needs:
	@./.ci/needs
