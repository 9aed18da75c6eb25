# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What is taken from the host: as little as can be. Compilers, QEMU and the like come
# from Debian roots in the cache. Sourced.

# What it takes to make those roots.
root_makers=(mmdebstrap:mmdebstrap
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring)

# need_host COMMAND:PACKAGE...: makes sure that the host has these commands, by
# installing their Debian packages when we are root, else by naming them.
# COMMAND may be an absolute path to a file.
need_host() {
    local missing
    missing=$(missing_on_host "$@")
    [[ $missing ]] || return 0
    command -v apt-get >/dev/null || die "needs the Debian packages: $missing; install them"
    [[ $(id -u) == 0 ]] || die "missing host packages; run: sudo apt-get install $missing"
    (
        exec {own}>"$cache/lock/host"
        flock -n "$own" || { note "host packages: another run is installing some; waiting for it"; flock "$own"; }
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

# install_host PACKAGE...: nothing that is there is removed or downgraded for them.
install_host() {
    (($#)) || return 0
    note "host packages: installing $* (usually 20 seconds)"
    : >"$host_log"
    # The package lists may be missing, or older than the mirror.
    host_apt install "$@" ||
        { ! refuses_removal && host_apt update && host_apt install "$@"; } || {
        refuses_removal && die "cannot install $* without removing other packages" \
            "from this machine, which is left to you: apt-get install $*"
        die "cannot install $*: $(grep '^E: ' "$host_log" | tail -n 1); see $host_log, then run:" \
            "apt-get update && apt-get install $*"
    }
}

refuses_removal() {
    grep -q 'Packages need to be removed but' "$host_log"
}

# host_apt install|update [PACKAGE...]: waits for another apt that has the lock.
host_apt() {
    local waited=0 from
    while true; do
        from=$(stat -c %s "$host_log")
        if DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-remove --no-install-recommends \
            "$@" </dev/null >>"$host_log" 2>&1; then
            return
        fi
        tail -c "+$((from + 1))" "$host_log" |
            grep -qE '^E: (Could not get|Unable to (acquire|lock)) ' || return 1
        ((waited < 900)) || return 1
        ((waited)) || note "host packages: another apt has the lock; waiting for it"
        sleep 3
        waited=$((waited + 3))
    done
}

# The URL of the Debian archive, as the host itself uses it.
host_mirror() {
    local codename found
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release | tr -d '"')
    found=$(known_mirror "$codename")
    if [[ ! $found && $(id -u) == 0 ]]; then
        # apt knows what it has fetched a list of.
        note "host packages: fetching package lists (usually 10 seconds)"
        : >>"$host_log"
        host_apt update || true
        found=$(known_mirror "$codename")
    fi
    # A file with one mirror a line, as Debian's cloud images have.
    [[ $found != mirror+file:* ]] ||
        found=$(awk '/^[a-z]+:/ { print $1; exit }' "/${found#mirror+file:/}")
    [[ $found ]] || die "no Debian archive among the apt sources of this machine;" \
        "set COMPOSEFS_MIRROR to its URL"
    echo "${found%/}"
}

known_mirror() {
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' \
        'Created-By: Packages' 2>/dev/null |
        awk -v codename="$1" '$1 == "Debian" && $2 == "main" && $3 == codename { print $4; exit }'
}
