#!/usr/bin/env bash
# Tests the status page in a browser: with and without scripts, light and dark, with hostile texts.
source "$(dirname "$0")/../lib.sh"

have chromium chromium || { skip 'the status page in a browser: Chromium cannot be had here'; exit 0; }
have_python || { skip "the status page in a browser: what $here/requirements.txt names cannot be had here"; exit 0; }
"$python" "$here/page.py" "$work"
