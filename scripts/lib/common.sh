# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script here needs: strict mode, messages, --help, host packages.
# Sourced, never run.

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

# The top of the checkout, as an absolute path without symlinks.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

# Messages go to stderr: stdout carries results (a path, a guest's output).
note() { printf '%s\n' "$*" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# The comment block at the head of a script is its --help text.
show_help() {
    awk 'NR <= 2 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
}

# bad_usage MESSAGE: a command line that cannot be meant.
bad_usage() {
    printf '%s: %s (see --help)\n' "${0##*/}" "$*" >&2
    exit 2
}

# need_host COMMAND:PACKAGE...: makes sure that the host has these commands, by
# installing their Debian packages when we are root, else by naming them.
# COMMAND may be an absolute path to a file.
need_host() {
    local entry missing=()
    for entry; do
        have_host "${entry%%:*}" || missing+=("${entry#*:}")
    done
    ((${#missing[@]})) || return 0

    command -v apt-get >/dev/null ||
        die "needs the Debian packages: ${missing[*]}"
    [[ $(id -u) == 0 ]] ||
        die "missing host packages; run: sudo apt-get install ${missing[*]}"
    note "installing host packages: ${missing[*]} (usually under a minute)"
    install_host "${missing[@]}" || {
        # The package lists may be missing or older than the mirror.
        apt-get -qq update >&2 && install_host "${missing[@]}"
    } || die "could not install: ${missing[*]}; run: apt-get update && apt-get install ${missing[*]}"
    for entry; do
        have_host "${entry%%:*}" || die "package ${entry#*:} did not provide ${entry%%:*}"
    done
}

# host_cargo_is VERSION: whether the host has a cargo at least so new.
host_cargo_is() {
    local version
    version=$(cargo --version 2>/dev/null | awk '{ print $2 }')
    [[ $version && $(printf '%s\n' "$1" "$version" | sort -V | head -n 1) == "$1" ]]
}

have_host() {
    [[ -e $1 ]] || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

install_host() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "$@" </dev/null >&2
}
