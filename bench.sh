#!/usr/bin/env bash
# The one door: makes the project's environment on first use, then runs the command line.
#
#   ./bench.sh --profile cpu-smoke.yaml    measure
#   ./bench.sh --help                      everything else
#   ./bench.sh --setup-only                prepare .venv and stop
#
# PYTHON=/path/to/python3 chooses the interpreter (3.11 or newer).
set -euo pipefail

self=${BASH_SOURCE[0]}
while [ -L "$self" ]; do
    target=$(readlink "$self")
    case $target in
        /*) self=$target ;;
        *) self=$(dirname "$self")/$target ;;
    esac
done
case $self in
    */*) root=$(CDPATH='' cd -P "${self%/*}" && pwd) ;;
    *) root=$(pwd -P) ;;
esac
venv=$root/.venv
python=$venv/bin/python
state=$venv/.kserve-bench # what .venv was made from; "unfinished" while it is being made
lock=$root/requirements.lock
log=$root/.cache/setup.log

say() { printf 'bench.sh: %s\n' "$*" >&2; }
fail() {
    local code=$1
    shift
    say "$*"
    exit "$code"
}

# The text that $state holds when .venv was made by interpreter $1 and fits this checkout.
# Holding the lock file itself is exact, and comparing it costs no hash tool.
wanted_state() {
    printf '%s\n%s\n%s\n%s\n' "$1" "$(readlink -f "$python" || true)" "$root" "$(<"$lock")"
}

is_ready() {
    local made_by
    [ -f "$state" ] && [ -x "$python" ] || return 1
    IFS= read -r made_by <"$state" || return 1
    [ "$(<"$state")" = "$(wanted_state "${PYTHON:-$made_by}")" ]
}

# Prints the first interpreter that can make the environment, or fails with one line.
find_python() {
    local candidate version reason=''
    for candidate in ${PYTHON:+"$PYTHON"} \
        python3.14 python3.13 python3.12 python3.11 python3 python; do
        version=$("$candidate" -c '
import sys
name = "%d.%d" % sys.version_info[:2]
if sys.version_info >= (3, 11):
    try:
        import ensurepip, venv
        name += " complete"
    except ImportError:
        name += " bare"
print(name)' 2>/dev/null) || version=''
        case $version in
            *' complete')
                printf '%s\n' "$candidate"
                return
                ;;
            *' bare') reason=${reason:-"$candidate lacks venv; install python${version% bare}-venv"} ;;
            ?*) reason=${reason:-"$candidate is Python $version, but 3.11 or newer is needed"} ;;
        esac
        [ -z "${PYTHON:-}" ] || fail 2 "PYTHON=$PYTHON: ${reason:-this is no Python interpreter}"
    done
    fail 2 "${reason:-no Python found}; try: apt install python3 python3-venv, or brew install python"
}

# Waits for a set-up of this checkout that runs elsewhere. The kernel drops the lock on
# file descriptor 9 when this shell ends, however it ends.
take_turn() {
    "$1" -c '
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("bench.sh: waiting for another set-up of this checkout", file=sys.stderr)
    fcntl.flock(9, fcntl.LOCK_EX)'
}

# Removes a .venv that was left unfinished or belongs to another interpreter than $1.
# Any other is updated in place, so that what a user added to it stays.
clear_environment() {
    local made_by resolved
    if [ -f "$state" ]; then
        { read -r made_by && read -r resolved; } <"$state" || made_by=''
        if [ "$made_by" != "$1" ] || [ "$resolved" != "$(readlink -f "$python" || true)" ]; then
            rm -rf "$venv"
        fi
    elif [ -e "$venv/pyvenv.cfg" ]; then
        "$python" -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null ||
            fail 2 "$venv was made by something else and has no Python 3.11 or newer; remove it"
    fi
}

make_environment() {
    clear_environment "$1"
    mkdir -p "$venv"
    echo unfinished >"$state"
    "$1" -m venv "$venv" >"$log" 2>&1 ||
        fail 2 "$1 cannot make an environment: $(tail -n 1 "$log") (log: $log)"
    PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -m pip install --no-input --progress-bar off \
        --requirement "$lock" >>"$log" 2>&1 || fail 4 "set-up failed: $(last_error) (log: $log)"
    # A path file makes the checkout importable from every directory without PYTHONPATH,
    # which an engine with an environment of its own would inherit.
    "$python" -c 'import sys, sysconfig
with open(sysconfig.get_path("purelib") + "/kserve-bench-checkout.pth", "w") as file:
    file.write(sys.argv[1] + "\n")' "$root"
    wanted_state "$1" >"$state.part"
    mv "$state.part" "$state"
}

last_error() {
    local line
    line=$(grep -E '^ERROR' "$log" | tail -n 1) || line=$(tail -n 1 "$log")
    printf '%s' "${line#ERROR: }"
}

set_up() {
    # An activated .venv must not be asked to rebuild itself.
    local base started=$SECONDS PATH=${PATH//"$venv/bin:"/}
    base=$(find_python)
    if ! mkdir -p "$root/.cache" "$venv" 2>/dev/null || ! [ -w "$root/.cache" ] || ! [ -w "$venv" ]; then
        fail 2 "cannot write to $root; use a checkout that you own"
    fi
    exec 9>"$root/.cache/setup.lock"
    take_turn "$base"
    if ! is_ready; then
        trap 'fail 130 "set-up interrupted; the next start does it again"' INT TERM
        say "making .venv with $base and installing requirements.lock: a minute or two"
        make_environment "$base"
        trap - INT TERM
        say "set-up done in $((SECONDS - started)) s"
    fi
    exec 9>&-
}

is_ready || set_up
[ "${1:-}" != --setup-only ] || exit 0
# -P keeps the current directory off the import path: what lies there is no part of us.
exec "$python" -P -m runners.cli "$@"
