#!/usr/bin/env bash
# Tests that the Debian package installs, starts, upgrades and is removed, with and without systemd, on a throw-away copy of this machine.
source "$(dirname "$0")/../lib.sh"

command -v dpkg-deb >/dev/null || { skip 'Debian package: this is not Debian'; exit 0; }
timeout 900 bash "$deploy/package.sh" "$BINARY" "$work/out" >"$work/package.log" 2>&1 || {
    [[ -x $root/target/tools/bin/cargo-deb ]] || { skip 'Debian package: cargo-deb cannot be installed here'; exit 0; }
    fail "deploy/package.sh: $(tail -n 20 "$work/package.log")"
}
say "$(cd "$work/out" && du --apparent-size --block-size=1K -- * | tr '\t' ' ' | paste --serial --delimiters=,)"
# The same program makes the same bytes.
bash "$deploy/package.sh" "$BINARY" "$work/again" >/dev/null
diff <(cd "$work/out" && sha256sum -- *) <(cd "$work/again" && sha256sum -- *) || fail 'two packages of one program differ'
tar --extract --gzip --file "$work"/out/*.tar.gz --directory "$work"
"$work"/mpc-auth-proxy-*-linux/mpc-auth-proxy check --config "$work"/mpc-auth-proxy-*-linux/config/minimal/proxy.yaml >/dev/null 2>&1 ||
    fail 'the minimal configuration in the tarball'

trial=$work/trial
mkdir -p "$trial/checkout/target/release"
cp "$work"/out/*.deb "$trial"
cp "$work"/out/*.deb "$trial/package.deb"
cp "$here"/trials/{installed,booted}.sh "$here/blocks.awk" "$deploy/README.md" "$root/docs/OPERATING.md" "$trial"
(cd "$root" && cp -r --parents -t "$trial/checkout" deploy/{systemd,debian})
cp "$BINARY" "$trial/checkout/target/release/mpc-auth-proxy"
unshare --mount true 2>/dev/null || { skip 'Debian package: no namespace can be made here to install it in'; exit 0; }
have logrotate logrotate || skip 'rotation of records: logrotate cannot be installed here'
unshare --mount bash "$here/clean.sh" "$trial" chroot installed.sh 2>&1 | tee "$work/installed"
grep --quiet '^INSTALLED: ok$' "$work/installed" || fail 'installed without systemd'

have systemd-nspawn systemd-container systemd-sysv || { skip 'a machine with systemd: systemd-nspawn cannot be installed here'; exit 0; }
unshare --mount bash "$here/clean.sh" "$trial" boot booted.sh 2>&1 | tee "$work/booted"
if grep --quiet 'BOOTED: ok' "$work/booted"; then
    exit 0
fi
grep --quiet FAILED "$work/booted" && fail 'on a machine with systemd'
skip 'a machine with systemd: none can be booted here'
