# What the scripts share. Source it after `set -euo pipefail`.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Debian's Python packages belong to this interpreter; another one may come first in PATH.
PYTHON=/usr/bin/python3
JOBS=$(nproc)

if [ -t 1 ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' RED='' GREEN='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
step() { printf '%s\n' "${BOLD}== $*${PLAIN}"; }
die() {
    printf '%s\n' "${RED}${0##*/}: $*${PLAIN}" >&2
    exit 1
}
usage_error() {
    printf '%s\n' "${0##*/}: $*; see ${0##*/} --help" >&2
    exit 2
}

# quietly LOG COMMAND…: runs it with its output in LOG, and shows the end of LOG when it fails.
quietly() {
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    if ! "$@" >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        die "'$*' failed; all of its output is in $log"
    fi
}

# field NAME: the value of a field of the JSON object on standard input.
field() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

servers() { "$PYTHON" "$ROOT/scripts/lib/servers.py" "$@"; }

# build PRESET [TARGET…]: configures a preset and builds it, or the targets alone, in build/PRESET.
build() {
    local preset=$1 werror=OFF targets=()
    shift
    if [ $# -gt 0 ]; then targets=(--target "$@"); fi
    if [ "${CI:-}" = true ]; then werror=ON; fi
    quietly "$ROOT/var/log/configure-$preset.log" cmake -S "$ROOT" --preset "$preset" -DHOOKCAST_WERROR=$werror
    cmake --build "$ROOT/build/$preset" -j "$JOBS" "${targets[@]}" -- --quiet | sed "/^ninja: no work to do/d"
}
