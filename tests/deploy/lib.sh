# Helpers of the parts. Each begins with `source "$(dirname "$0")/../lib.sh"`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(git -C "$here" rev-parse --show-toplevel)
deploy=$root/deploy
: "${BINARY:=$root/target/release/mpc-auth-proxy}" "${SKIPPED:=/dev/stderr}"
work=$(mktemp -d)
# Background processes of a part, which end with it.
started=()
finish() {
    local code=$?
    if ((${#started[@]})); then
        kill "${started[@]}" 2>/dev/null || true
        wait "${started[@]}" 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

say() { printf '    %s\n' "$*"; }

fail() {
    printf '    FAILED: %s\n' "$*" >&2
    exit 1
}

# Reports what is skipped, and why.
skip() { printf '==> SKIPPED: %s\n' "$*" | tee -a "$SKIPPED"; }

# Whether a program exists, or can be installed with these Debian packages.
#   have promtool prometheus || { skip "…"; exit 0; }
have() {
    local program=$1
    shift
    command -v "$program" >/dev/null && return
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    # The lists may be old or missing.
    install_debian "$@" || { timeout 120 apt-get update >"$work/apt.log" 2>&1 && install_debian "$@"; } || return 1
    command -v "$program" >/dev/null
}

install_debian() {
    DEBIAN_FRONTEND=noninteractive timeout 600 \
        apt-get install --yes --quiet --no-install-recommends "$@" >"$work/apt.log" 2>&1
}

# Sets $python to a Python with requirements.txt. Fails if that is not possible.
have_python() {
    python=$here/.venv/bin/python
    cmp -s "$here/requirements.txt" "$here/.venv/installed.txt" && return
    rm -rf "$here/.venv"
    python3 -m venv "$here/.venv" || return 1
    timeout 600 "$python" -m pip install --quiet --no-deps --requirement "$here/requirements.txt" || return 1
    cp "$here/requirements.txt" "$here/.venv/installed.txt"
}

# Waits until a command succeeds, for at most this many seconds.
#   eventually 30 curl --fail --silent http://127.0.0.1:9090/readyz
eventually() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || fail "never: $*"
        sleep 0.1
    done
}
