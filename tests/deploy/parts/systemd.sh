#!/usr/bin/env bash
# Tests the units with systemd's own tools, in a complete tree below a folder.
source "$(dirname "$0")/../lib.sh"

have systemd-analyze systemd || { skip 'systemd units: systemd-analyze cannot be had here'; exit 0; }
units=$work/etc/systemd/system
mkdir -p "$units" "$work/usr/bin" "$work/usr/share/man/man1"
cp "$deploy"/systemd/mpc-auth-proxy.{service,socket} "$units"
cp "$BINARY" "$work/usr/bin/mpc-auth-proxy"
"$BINARY" man >"$work/usr/share/man/man1/mpc-auth-proxy.1"
# Units of others.
mkdir -p "$work/usr/lib/systemd/system"
for unit in /lib/systemd/system/{basic,sockets,sysinit,shutdown,multi-user,network-online}.target; do
    cp "$unit" "$work/usr/lib/systemd/system/"
done

verify() {
    SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --root="$work" --man=no "$units"/mpc-auth-proxy.{service,socket} 2>&1
}
said=$(verify) || fail "systemd-analyze verify: $said"
[[ -z $said ]] || fail "systemd-analyze verify: $said"
# It detects mistakes.
cp "$units/mpc-auth-proxy.service" "$work/good"
for wrong in 's/^Type=notify/Type=notfy/' 's/^ExecStart=mpc-auth-proxy/ExecStart=mpc-proxy/' 's/^WatchdogSec=.*/WatchdogSec=x/' \
    's/^Requires=.*/Requirs=x/'; do
    sed "$wrong" "$work/good" >"$units/mpc-auth-proxy.service"
    said=$(verify) || true
    [[ -n $said ]] || fail "systemd-analyze verify says nothing of $wrong"
done
cp "$work/good" "$units/mpc-auth-proxy.service"
say 'verify: nothing to say'

# 1.0 is "OK", 2.0 and less what of systemd's own services only a few reach. What is left: network, Unix sockets, a root that is the
# machine's.
exposure=$(systemd-analyze security --offline=true --root="$work" --threshold=13 --no-pager mpc-auth-proxy.service 2>&1) ||
    fail "systemd-analyze security: $exposure"
say "security: $(tail -n 1 <<<"$exposure")"
