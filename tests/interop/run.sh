#!/usr/bin/env bash
# Drives the release binary with Huawei's official Python SDK, as a user's service would.
#
#   tests/interop/run.sh                    all of it
#   tests/interop/run.sh -k policy          tests with this in their name (arguments of unittest)
#   BINARY=target/debug/mpc-auth-proxy tests/interop/run.sh
#
# It needs Python 3.11 or later with venv, and PyPI the first time. The tests are unittest's: the SDK and a
# validator of JSON Schema are installed. They live in .venv beside this file, which is recreated when requirements.txt changes.
set -euo pipefail
cd "$(dirname "$0")"

source ../binary.sh

if ! cmp -s requirements.txt .venv/installed.txt; then
    rm -rf .venv
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --no-deps --requirement requirements.txt
    cp requirements.txt .venv/installed.txt
fi

# Everything is on loopback, without a proxy of the environment.
export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1
exec .venv/bin/python -W error::ResourceWarning -m unittest discover --verbose --start-directory . "$@"
