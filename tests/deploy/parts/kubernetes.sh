#!/usr/bin/env bash
# Tests that Kubernetes accepts the chart's manifests, and the proxy its configuration.
source "$(dirname "$0")/../lib.sh"

have_python || { skip "the chart: Helm's library and Kubernetes' schemas cannot be installed here"; exit 0; }
cd "$here"
"$python" -m unittest --quiet test_chart
