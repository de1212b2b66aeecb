#!/usr/bin/env bash
# Tests that Prometheus understands alerts, dashboard and metrics, and that they use existing metrics.
source "$(dirname "$0")/../lib.sh"

have promtool prometheus || { skip 'alerts and dashboard: Prometheus cannot be had here'; exit 0; }
have openssl openssl || { skip 'alerts and dashboard: openssl, for a certificate, cannot be had here'; exit 0; }
follow() {
    local commands
    commands=$(awk -v section="$2" -v number="$3" -f "$here/blocks.awk" "$root/docs/$1") || fail "$1 has no block $3 of $2"
    (cd "$root" && bash -euo pipefail -c "$commands") >"$work/said" 2>&1 || fail "$commands: $(cat "$work/said")"
}
# As in the documentation.
follow OPERATING.md 'Alerts and a dashboard' 1
say 'rules: checked, and each alert fires when it should and not otherwise'
sed -n '/^scrape_configs:$/,/^```$/p' "$root/docs/OPERATING.md" | sed '$d' >"$work/prometheus.yml"
ln -s "$deploy" "$work/deploy"
promtool check config "$work/prometheus.yml" >"$work/said" || fail "promtool check config: $(cat "$work/said")"
grep -q 'rules found' "$work/said" || fail "the document's prometheus.yml has no rules: $(cat "$work/said")"
python3 "$here/monitoring.py"
