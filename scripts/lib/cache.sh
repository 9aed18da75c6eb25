# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The cache of everything that takes long to make, outside the checkout. Sourced.
#
#   <cache>/<name>-<key>   one finished artifact; never changes once it is there
#   <cache>/tmp            artifacts being built; what is found here is rubbish
#   <cache>/lock           one lock per artifact, and `all` (shared by builders)
#   <cache>/log            what the builders printed
#
# An artifact is made by a recipe: shell functions whose very text, together with
# their arguments, is hashed into the key. Recipes therefore see nothing of the
# calling script but their arguments and exported variables, and must only export
# what does not change the result.

cache=${COMPOSEFS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/composefs-in-rust}

# Artifacts of a name that no run has used for this many days make way when a new
# one of that name is built.
cache_keep_days=14

cache_init() {
    if ! mkdir -p "$cache"/{tmp,lock,log} 2>/dev/null || [[ ! -w $cache ]]; then
        die "cannot write to the cache directory $cache (set COMPOSEFS_CACHE to another)"
    fi
    cache=$(cd "$cache" && pwd -P)
}

# cache_get NAME "WHAT" "USUALLY" "RECIPE [HELPER...]" [ARGUMENT...]
#
# Sets $artifact to the directory of the artifact NAME, which is made if it is not
# there: the function RECIPE runs in a shell of its own (errexit, nounset,
# pipefail) with an empty directory and the ARGUMENTs, its output in a log file.
# USUALLY says how long that takes. If a function NAME_needs exists, it is called
# first when there is something to make: for what only the making needs.
cache_get() {
    local name=$1 what=$2 usually=$3 functions code key
    read -ra functions <<<"$4"
    shift 4
    code=$(declare -f "${functions[@]}")
    key=$(printf '%s\0' "$code" "$@" | sha256sum | cut -c1-16)
    cache_init
    artifact=$cache/$name-$key
    if [[ ! -d $artifact ]]; then
        if declare -F "${name//-/_}_needs" >/dev/null; then "${name//-/_}_needs"; fi
        cache_build "$name" "$key" "$what" "$usually" "$code
set -euo pipefail
${functions[0]} \"\$@\"" "$@"
    fi
    # Says that it is in use, to cache_prune; a read-only cache is fine, too.
    touch -c "$artifact" 2>/dev/null || true
}

cache_build() (
    name=$1 key=$2 what=$3 usually=$4 code=$5
    shift 5
    dir=$cache/$name-$key tmp=$cache/tmp/$name-$key log=$cache/log/$name-$key.log

    # Once more if the cache was cleaned while we waited: those locks are history.
    until [[ ${all:-} && /proc/self/fd/$all -ef $cache/lock/all ]]; do
        cache_init
        exec {all}>"$cache/lock/all" {own}>"$cache/lock/$name-$key"
        cache_lock "$all" -s "the cache is being cleaned"
        cache_lock "$own" -x "$what: another run is making it"
    done
    [[ ! -d $dir ]] || exit 0

    # We hold the lock, so whatever is there was left by an interrupted run.
    remove_tree "$tmp"
    mkdir -p "$tmp"
    note "$what: making it (usually $usually)"
    SECONDS=0
    if ! bash -c "$code" "$name" "$tmp" "$@" </dev/null >"$log" 2>&1; then
        tail -n 15 "$log" | sed 's/^/    /' >&2
        remove_tree "$tmp"
        give_up "$what: cannot be made: $(reason_in "$log"); $(remedy_in "$log") (whole output: $log)"
    fi
    mv -T "$tmp" "$dir"
    note "$what: made in $SECONDS s"
    cache_prune "$name" "$dir"
)

# reason_in LOG: the line of it that says best why something failed.
reason_in() {
    { grep -aE '(^|[^a-z])([Ee]rror|E|fatal): |[Cc]heck failed|No space left' "$1" ||
        grep -aE '[^[:space:]]' "$1" || echo "it said nothing"; } | tail -n 1 | cut -c 1-200 | sed 's/^[[:space:]]*//'
}

# remedy_in LOG: what to do about it.
remedy_in() {
    if grep -qa 'No space left on device' "$1"; then
        echo "free some space, or set COMPOSEFS_CACHE to a directory with more, and run this again"
    elif grep -qaE 'Could not (resolve|connect)|Temporary failure resolving|Connection (failed|timed out|refused)|Failed to fetch' "$1"; then
        echo "check the network and the mirror in apt's sources (COMPOSEFS_MIRROR names another), then run this again: what is done is kept"
    elif grep -qaE 'Operation not permitted|Permission denied' "$1"; then
        echo "run this as root, on a machine or in a container that may mount and chroot"
    else
        echo "run this again: what is done is kept"
    fi
}

# cache_lock FD -s|-x "WHY IT MAY BE TAKEN"
cache_lock() {
    flock -n "$2" "$1" && return
    note "$3; waiting for it"
    flock "$2" "$1"
}

# cache_prune NAME KEEP: drops artifacts NAME-* but KEEP that have long been idle.
cache_prune() {
    local old
    while IFS= read -r old; do
        [[ $old == "$2" ]] || remove_tree "$old"
    done < <(find "$cache" -maxdepth 1 -regextype posix-extended \
        -regex ".*/$1-[0-9a-f]{16}" -mtime "+$cache_keep_days")
}

# remove_tree DIR: rm -rf, which first takes away mounts that a killed run left
# below it. Fails rather than delete through a mount.
remove_tree() {
    local at
    [[ -e $1 ]] || return 0
    while IFS= read -r at; do
        umount -l "$at" || die "cannot unmount $at"
    done < <(awk -v top="$1/" 'index($5, top) == 1 { print $5 }' /proc/self/mountinfo | tac)
    chmod -R u+rwX "$1" 2>/dev/null || true
    rm -rf --one-file-system "$1" || die "cannot remove $1"
}
