# make demo    builds Tidegate and runs the whole journey on this machine
# make test    everything that must hold, with real servers and clients
# make build   the program alone: target/release/tidegate
# make check   formatting, lints, and what `deny.toml` says of dependencies
# make bench   side-by-side measurements, as ratios
# make soak    the same at full scale
# make screenshots    a picture of every page of the portal, light, dark and on a phone, into portal/screenshots
# make setup   what tests need first: packages of Debian, the patched SSH library and the portal

CARGO ?= cargo
PATCHED = .patched/russh/Cargo.toml
# How much `scripts/packages` installs.
NEEDS = tests

.PHONY: demo test build lints check bench soak screenshots setup packages
.DEFAULT_GOAL := test

packages:
	@scripts/packages $(NEEDS)

setup: packages $(PATCHED)
	@scripts/portal build

$(PATCHED): patches/russh.patch patches/russh/Cargo.toml scripts/patched-russh | packages
	@scripts/patched-russh

build: NEEDS = build
build: setup
	$(CARGO) build --release --locked -p tidegate

demo: NEEDS = demo
demo: setup
	$(CARGO) build --release --locked -p tidegate
	$${CARGO_TARGET_DIR:-target}/release/tidegate demo

test: setup
	@scripts/test

lints: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

check: lints
	@scripts/dependencies

bench: setup
	@scripts/bench

soak: setup
	@scripts/soak

screenshots: setup
	$(CARGO) build --locked -p tidegate
	@scripts/portal screenshots
