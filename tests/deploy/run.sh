#!/usr/bin/env bash
# Tests deploy/ with real tools: systemd's, Debian's, Helm, Prometheus, a browser.
#
#   bash tests/deploy/run.sh                       every part
#   bash tests/deploy/run.sh systemd debian        these parts
#   BINARY=target/debug/mpc-auth-proxy bash tests/deploy/run.sh
#   START_WITHIN=600 bash tests/deploy/run.sh      starts no part after this many seconds
#
# A part is a script in parts/ that tests $BINARY, with helpers from lib.sh. Missing tools are installed if possible (Debian's
# packages as root, Python's into .venv beside this file), otherwise the part is skipped with a message. A failed part does not
# prevent the others. The longest runs last. $SECONDS_LEFT is the time a part may take: until five minutes after the last start.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

source ../binary.sh
SKIPPED=$(mktemp)
trap 'rm -f "$SKIPPED"' EXIT
export SKIPPED
# Everything is on loopback, without a proxy of the environment.
export NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

if (($# == 0)); then
    set -- parts/*.sh
    set -- "${@#parts/}"
    set -- "${@%.sh}"
    set -- $(printf '%s\n' "$@" | grep --invert-match --line-regexp release) release
fi
failed=()
export SECONDS_LEFT
for part; do
    started=$SECONDS
    # `.ci/run` has half an hour for everything.
    SECONDS_LEFT=$((${START_WITHIN:-3600} + 300 - started))
    if ((SECONDS_LEFT < 300)); then
        printf '==> SKIPPED: %s: no time is left for it\n' "$part" | tee -a "$SKIPPED"
        continue
    fi
    printf '\n--> %s\n' "$part"
    if bash "parts/$part.sh"; then
        printf -- '--> %s: ok after %d s\n' "$part" $((SECONDS - started))
    else
        printf -- '--> %s: FAILED after %d s\n' "$part" $((SECONDS - started))
        failed+=("$part")
    fi
done
printf '\n'
cat "$SKIPPED"
if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[*]}" >&2
    exit 1
fi
