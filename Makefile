# What a newcomer types; each target installs what it needs first and says so. The work is in checks/.

.DEFAULT_GOAL := help
.PHONY: help install demo test lint bench image build setup
# The targets share cargo's lock and target/demo: side by side they would only wait for each other.
.NOTPARALLEL:

TARGET := $(shell uname -m)-unknown-linux-musl
RELEASE := target/$(TARGET)/release
PREFIX ?= /usr/local
# Of what tests it, what an image and the demonstration need; for the tests, all.
CHECKS := --package simulator --package testbed --bins

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## build, and copy the program to /usr/local/bin (PREFIX=/usr/local)
	checks/setup build
	$(MAKE) --no-print-directory build
	@mkdir -p $(PREFIX)/bin 2>/dev/null || true
	$$(test -w $(PREFIX)/bin || echo sudo) install -D -m 0755 $(RELEASE)/vega-builder $(PREFIX)/bin/vega-builder

demo: image ## the main job for real: signed image to running job and away again (target/demo/report.json)
	checks/setup demo
	checks/enter checks/demo

test: CHECKS := --workspace --bins --tests
test: setup image ## every test, with real podman, registry and Nix (target/checks/report.json)
	checks/vm/build >/dev/null
	checks/cosign >/dev/null
	checks/test
	checks/image-reproducible

lint: ## format, clippy, licenses and advisories of what we depend on, shell scripts
	checks/setup lint
	checks/lint

bench: image ## the figures, against what people use today (target/bench/)
	checks/setup demo
	checks/cosign >/dev/null
	checks/enter checks/bench

image: ## the demo images as OCI layouts (target/demo/image, target/demo/foreign-image)
	checks/setup image
	@# What is shipped is optimised as a whole, on one core for most of its time: the other builds what tests it.
	@$(MAKE) --no-print-directory build & shipped=$$!; \
	cargo build --locked --profile checks $(CHECKS) --target $(TARGET) || { kill $$shipped; exit 1; }; \
	wait $$shipped
	image/demo/build --index --output target/demo/image
	image/demo/build --index --foreign --output target/demo/foreign-image

build: ## the static program, as it is shipped
	checks/setup build
	cargo build --locked --release --package vega-builder --target $(TARGET)

setup: ## install everything that the targets above need
	checks/setup test
