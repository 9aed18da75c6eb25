# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What is taken from the host: as little as can be. Compilers, QEMU and the like come
# from Debian roots in the cache (scripts/toolchain, scripts/machine). Sourced.

# What it takes to make those roots.
root_makers=(mmdebstrap:mmdebstrap
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring)

# prepare_host: makes sure of what every run needs that makes or enters a root. To be
# called before anything runs beside anything else.
prepare_host() {
    need_host "${root_makers[@]}"
}

# need_host COMMAND:PACKAGE...: makes sure that the host has these commands, by
# installing their Debian packages when we are root, else by naming them.
# COMMAND may be an absolute path to a file.
need_host() {
    local missing
    missing=$(missing_on_host "$@")
    [[ $missing ]] || return 0

    command -v apt-get >/dev/null || die "needs the Debian packages: $missing; install them"
    [[ $(id -u) == 0 ]] || die "missing host packages; run: sudo apt-get install $missing"
    cache_init
    (
        exec {own}>"$cache/lock/host"
        cache_lock "$own" -x "host packages: another run is installing some"
        # shellcheck disable=SC2046
        install_host $(missing_on_host "$@")
    ) || exit
}

missing_on_host() {
    local entry missing=()
    for entry; do
        have_host "${entry%%:*}" || missing+=("${entry#*:}")
    done
    echo "${missing[*]}"
}

have_host() {
    [[ -e $1 ]] || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

# host_cargo_is VERSION: whether the host can build Rust programs, with a cargo at
# least so new.
host_cargo_is() {
    local version
    version=$(cargo --version 2>/dev/null | awk '{ print $2 }')
    [[ $version && $(printf '%s\n' "$1" "$version" | sort -V | head -n 1) == "$1" ]] &&
        have_host cc && have_host /usr/include/stdio.h
}

# install_host PACKAGE...: nothing that is there is removed or downgraded for them.
install_host() {
    (($#)) || return 0
    local log=$cache/log/host-packages.log
    note "host packages: installing $* (usually 20 seconds)"
    : >"$log"
    # The package lists may be missing, or older than the mirror.
    host_apt install "$@" ||
        { ! refuses_removal && host_apt update && host_apt install "$@"; } || {
        refuses_removal && die "cannot install $* without removing other packages" \
            "from this machine, which is left to you: apt-get install $*"
        die "cannot install $*: $(reason_in "$log"); see $log, then run: apt-get update && apt-get install $*"
    }
}

refuses_removal() {
    grep -q 'Packages need to be removed but' "$log"
}

# host_apt install|update [PACKAGE...]: waits for another apt that has the lock.
host_apt() {
    local waited=0 from
    while true; do
        from=$(stat -c %s "$log")
        if DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-remove --no-install-recommends \
            "$@" </dev/null >>"$log" 2>&1; then
            return
        fi
        tail -c "+$((from + 1))" "$log" | grep -qE '^E: (Could not get|Unable to (acquire|lock)) ' || return 1
        ((waited < 900)) || return 1
        ((waited)) || note "host packages: another apt has the lock; waiting for it"
        sleep 3
        waited=$((waited + 3))
    done
}
