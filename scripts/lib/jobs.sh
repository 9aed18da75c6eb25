# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Steps that run beside one another. Where one fails, that is said at once, the others
# are stopped, and the script ends with the line that says what failed. Sourced.

declare -A jobs=()

jobs_begin() {
    [[ ! ${COMPOSEFS_FAILURE:-} ]] || return 0
    COMPOSEFS_FAILURE=$(mktemp)
    export COMPOSEFS_FAILURE
    failure_is_ours=1
}

# jobs_end: for the script's own exit trap.
jobs_end() {
    jobs_stop
    [[ ! ${failure_is_ours:-} ]] || rm -f "$COMPOSEFS_FAILURE"
}

# job COMMAND...: in a session of its own, so that all of it can be stopped.
job() {
    setsid "$@" </dev/null &
    jobs[$!]=$*
}

# jobs_wait: for all of them.
jobs_wait() {
    local ended status
    while ((${#jobs[@]})); do
        status=0
        wait -n -p ended "${!jobs[@]}" || status=$?
        ((status == 0)) || job_failed "${jobs[$ended]}" "$status" "$ended"
        unset "jobs[$ended]"
    done
}

# job_failed COMMAND STATUS PID
job_failed() {
    unset "jobs[$3]"
    jobs_stop
    [[ -s $COMPOSEFS_FAILURE ]] || give_up "${0##*/}: $1 ended with status $2; run it by itself to see why"
    note "${0##*/}: stopped: $(<"$COMPOSEFS_FAILURE")"
    exit 1
}

jobs_stop() {
    local pid
    for pid in "${!jobs[@]}"; do
        kill -TERM -- "-$pid" 2>/dev/null || kill "$pid" 2>/dev/null || true
    done
    for pid in "${!jobs[@]}"; do
        wait "$pid" 2>/dev/null || true
        unset "jobs[$pid]"
    done
}
