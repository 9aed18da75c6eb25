# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What every script here needs: strict mode, messages, --help. Sourced, never run.

set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C.UTF-8

# The top of the checkout, as an absolute path without symlinks.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

# Messages go to stderr: stdout carries results (a path, a guest's output).
note() { printf '%s\n' "$*" >&2; }
die() { note "${0##*/}: $*"; exit 1; }

# The comment block at the head of a script is its --help text.
show_help() {
    awk 'NR <= 2 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
}

# bad_usage MESSAGE: a command line that cannot be meant.
bad_usage() {
    printf '%s: %s (see --help)\n' "${0##*/}" "$*" >&2
    exit 2
}

# The programs of the checks, which are the same everywhere.
use_machine() {
    PATH=$("$top/scripts/machine" path)bin:$PATH
    export PATH
}
