# SPDX-License-Identifier: GPL-2.0-only
# composefs in Rust: the module, the tools, tests and demo. See `make help`.
#
# The kernel's own build system reads Kbuild, not this file.

PREFIX ?= /usr/local
INSTALL_MOD_PATH ?= $(DESTDIR)
INSTALL ?= install

MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# What `make` built last: the module's path.
MODULE := build/module

# The running kernel, if modules can be built for it; else a stock kernel in a cache.
RUNNING := $(shell uname -r)
RUNNING_IS_NEW := $(shell printf '%s\n' 7.2 $(RUNNING) | sort -CV && \
	test -e /lib/modules/$(RUNNING)/build && echo y)
FOR := $(or $(KDIR),$(KERNEL),$(if $(RUNNING_IS_NEW),$(RUNNING)))

.PHONY: all
all: module tools ## the module and the tools (default)

.PHONY: module
module: ## build/<kernel release>/composefs.ko, for KERNEL
	@mkdir -p build
	@$(if $(FOR),scripts/build-for "$(FOR)",scripts/build-module --) \
		$(if $(V),V=$(V)) $(if $(W),W=$(W)) >$(MODULE).new
	@mv $(MODULE).new $(MODULE)
	@echo "module: $$(cat $(MODULE))"

.PHONY: tools
tools: ## mkcomposefs and its fellows, in target/release
	@scripts/build-tools

.PHONY: modules_install
modules_install: ## the module made last, into INSTALL_MOD_PATH/lib/modules
	@scripts/install-module "$(INSTALL_MOD_PATH)" $(MODULE)

.PHONY: install
install: ## the tools, manual pages and completions, into DESTDIR/PREFIX
	@PREFIX="$(PREFIX)" scripts/install-tools "$(DESTDIR)$(PREFIX)"

.PHONY: demo
demo: ## watch a Debian system become an image, and be mounted, in a guest
	@scripts/demo

.PHONY: test
test: ## all tests, on the host and in a guest
	@scripts/test

.PHONY: test-fresh
test-fresh: ## the README's commands, in minimal Debian systems without a cache (hours)
	@scripts/test-fresh

.PHONY: deb
deb: ## the Debian packages, in build/deb: the tools, and the module for DKMS
	@scripts/deb

.PHONY: test-packages
test-packages: ## install them in Debian systems, boot those, remove them (half an hour)
	@scripts/test-packages

.PHONY: test-boot
test-boot: ## boot Debian systems whose root is an image: initramfs-tools, dracut, ostree, Secure Boot
	@scripts/test-boot

.PHONY: test-mutants
test-mutants: ## break driver, parser and tools in many small ways, which tests have to notice (hours)
	@scripts/mutants
	@scripts/crate-mutants

.PHONY: test-forky
test-forky: ## all tests in a guest on the oldest kernel, that of Debian forky
	@scripts/test --suite forky

.PHONY: test-rt
test-rt: ## all tests in a guest whose kernel can be preempted nearly everywhere (PREEMPT_RT)
	@scripts/test --suite rt-amd64

.PHONY: test-arm64
test-arm64: ## all tests in guests that are ARM machines, with pages of 4 and of 16 KiB (hours)
	@scripts/test --suite cloud-arm64
	@scripts/test --suite arm64-16k

.PHONY: test-images
test-images: ## images from registries to mounts: 50,000 files, 2 GiB, 200 kills, ten minutes at once (hours)
	@scripts/test --images

.PHONY: test-peers
test-peers: ## suites of others; stress-ng and fio, and those that UNIONMOUNT=DIR and the like name (hours)
	@bad=0; scripts/stress $(foreach tree,$(XFSTESTS) $(PJDFSTEST) $(LTP),--tree "$(tree)") || bad=1; \
	scripts/unionmount $(if $(UNIONMOUNT),--tree "$(UNIONMOUNT)") || test $$? = 4 || bad=1; \
	scripts/xfstests $(if $(XFSTESTS),--tree "$(XFSTESTS)") || test $$? = 4 || bad=1; \
	scripts/kselftest || bad=1; scripts/harness suites-table; exit $$bad

.PHONY: test-debug
test-debug: ## what a kernel that looks for its own bugs says of the driver (an hour)
	@scripts/test --suite debug

.PHONY: test-races
test-races: ## what a kernel that looks for races says of the driver (half an hour)
	@scripts/test --suite kcsan

.PHONY: fuzz-kernel
fuzz-kernel: ## mount 20,000 damaged images in that kernel (an hour and a half)
	@scripts/fuzz-kernel

.PHONY: fuzz
fuzz: ## fuzz the parser and the tools, a minute for each target
	@scripts/fuzz

.PHONY: bench
bench: ## what operations cost, beside composefs 1.0 and ext4, in instructions
	@scripts/bench --growth

.PHONY: bench-tools
bench-tools: tools ## time and memory of the tools, beside the C tools
	@scripts/bench-tools

.PHONY: bench-pull
bench-pull: ## pulls of images, gc and fsck, beside cfsctl, podman, skopeo and umoci
	@scripts/bench-pull

.PHONY: bench-fetch
bench-fetch: ## updates over a link of 100 Mbit/s and 20 ms, beside podman and curl
	@scripts/bench-fetch

.PHONY: bench-lazy
bench-lazy: ## objects that come when they are opened, over a link of 100 Mbit/s and 20 ms
	@scripts/bench-lazy

.PHONY: lint
lint: ## formatting, lints, and house rules
	@scripts/lint

.PHONY: update
update: ## look for newer kernels and packages now (else once a week)
	@scripts/update

.PHONY: clean
clean: ## remove what was built in the checkout
	@rm -rf build target

.PHONY: clean-cache
clean-cache: ## remove the toolchain, kernel trees and guest disks as well
	@scripts/clean-cache

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z_-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 20
	@echo
	@echo "  KERNEL=RELEASE      an installed kernel, with its headers (default: the one that runs"
	@echo "                      if it is 7.2 or later, else a stock kernel of Debian's)"
	@echo "  KDIR=DIR            the directory that modules for it are built with"
	@echo "  PREFIX, DESTDIR, INSTALL_MOD_PATH   as usual"
	@echo "  XFSTESTS, UNIONMOUNT, PJDFSTEST, LTP=DIR   trees of suites, built, for test-peers"
	@echo "  COMPOSEFS_CACHE=DIR what takes long to make (default ~/.cache/composefs-in-rust)"
