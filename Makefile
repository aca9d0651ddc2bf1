# One target a line in `make help`; everything that it builds stays outside the clone.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

cache := $(if $(ROUTECERT_CACHE),$(ROUTECERT_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/routecert)
export CARGO_TARGET_DIR ?= $(cache)/target
go_wanted := 1.26
rust_wanted := 1.95

# need PROGRAM, what to install
need = @command -v $(1) >/dev/null || { echo "$(1) is missing: $(2), then run make again" >&2; exit 1; }

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

.PHONY: test
test: tools name-server ## formatting, lints, docs, unit tests, and the integration tests against the real parts
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked
	@$(MAKE) one-crypto
	RUST_TEST_THREADS=4 cargo test --locked --no-fail-fast

# Only the tests have name servers.
.PHONY: name-server
name-server: export PATH := $(PATH):/usr/sbin:/usr/local/sbin
name-server:
	@missing=$$(for program in named dig; do command -v $$program >/dev/null || echo $$program; done); \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing what is missing: $$missing" >&2; \
	  apt-get update -qq >&2 && apt-get install -yqq --no-install-recommends bind9 bind9-dnsutils >&2; \
	fi
	$(call need,named,install BIND 9)
	$(call need,dig,install the tools of BIND 9)

.PHONY: demo
demo: tools ## the whole thing on real parts, proven; KEEP=1 leaves it running to play with
	cargo build --bin routecert --example demo --locked
	@"$$CARGO_TARGET_DIR"/debug/examples/demo $(if $(KEEP),--keep)

.PHONY: demo-file
demo-file: check-programs ## the same without Kubernetes: files in, acme.json out; KEEP=1 as above
	@tests/tools/build.sh pebble >/dev/null
	cargo build --bin routecert --example demo-file --locked
	@"$$CARGO_TARGET_DIR"/debug/examples/demo-file $(if $(KEEP),--keep)

.PHONY: tools
tools: check-programs ## builds the real parts (API server, etcd, kubectl, Pebble, step-ca) once per version
	@for module in cluster pebble step-ca traefik traefik-store; do tests/tools/build.sh $$module >/dev/null; done

.PHONY: fmt
fmt: check-programs ## formats the code
	cargo fmt

.PHONY: lint
lint: check-programs ## formatting and lints, without tests
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	@$(MAKE) one-crypto

.PHONY: doc
doc: check-programs ## the crate's documentation, its map included
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items --locked

.PHONY: crds
crds: check-programs ## writes crds/ anew
	cargo build --bin routecert --locked
	@mkdir -p crds
	@"$$CARGO_TARGET_DIR"/debug/routecert crd | awk ' \
	  function flush() { if (file) printf "%s", text > file; text = file = "" } \
	  /^---$$/ { flush(); next } \
	  /^  name: .*\.routecert\.dev$$/ && !file { file = "crds/routecert.dev_" $$2 ".yaml"; sub(/\.routecert\.dev\.yaml$$/, ".yaml", file) } \
	  { text = text $$0 "\n" } \
	  END { flush() }'

.PHONY: reference
reference: check-programs ## writes the reference of all keys and the editors' schema in docs/ anew
	cargo build --bin routecert --locked
	@head=$$(sed '/^## All keys$$/q' docs/configuration.md) && \
	  { printf '%s\n\n' "$$head"; "$$CARGO_TARGET_DIR"/debug/routecert check --reference; } > docs/configuration.md
	@"$$CARGO_TARGET_DIR"/debug/routecert check --schema > docs/configuration.schema.json

# One cryptography library in the program, aws-lc: `cargo tree -i` of any other prints nothing.
.PHONY: one-crypto
one-crypto:
	@tree=$$(cargo tree -e normal --prefix none --locked); \
	for crate in ring openssl-sys; do \
	  if grep -q "^$$crate v" <<<"$$tree"; then cargo tree -e normal -i $$crate >&2; exit 1; fi; \
	done

# Rust and Go are the user's; the rest comes from the distribution where that can be done.
.PHONY: check-programs
check-programs:
	$(call need,cargo,install Rust $(rust_wanted) or newer (https://rustup.rs))
	$(call need,go,install Go $(go_wanted) or newer (https://go.dev/dl))
	@missing=$$(for program in cc curl openssl setpriv; do command -v $$program >/dev/null || echo $$program; done); \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing what is missing: $$missing" >&2; \
	  apt-get update -qq >&2 && apt-get install -yqq --no-install-recommends gcc libc6-dev curl openssl ca-certificates util-linux >&2; \
	fi
	$(call need,cc,install a C compiler (gcc or clang))
	$(call need,curl,install curl)
	$(call need,openssl,install openssl)
	$(call need,setpriv,install util-linux)
	@# Clones share what is built of other crates. Of ours, cargo goes by dates: what another clone
	@# built later would pass for this one's.
	@mkdir -p "$$CARGO_TARGET_DIR"; \
	if [ "$$(cat "$$CARGO_TARGET_DIR/clone" 2>/dev/null)" != "$(CURDIR)" ]; then \
	  find src tests -name '*.rs' -exec touch {} +; \
	  echo "$(CURDIR)" > "$$CARGO_TARGET_DIR/clone"; \
	fi
