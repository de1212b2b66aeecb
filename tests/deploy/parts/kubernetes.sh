#!/usr/bin/env bash
# Does the chart make what Kubernetes takes and the proxy reads?
source "$(dirname "$0")/../lib.sh"

have_python || { skip "the chart: Helm's library and Kubernetes' schemas cannot be installed here"; exit 0; }
cd "$here"
"$python" -m unittest --quiet test_chart
