# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Loads the whole library: a script that makes or uses artifacts sources only this.

# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=cache.sh
. "$top/scripts/lib/cache.sh"
# shellcheck source=host.sh
. "$top/scripts/lib/host.sh"
# shellcheck source=apt.sh
. "$top/scripts/lib/apt.sh"
