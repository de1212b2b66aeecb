#!/bin/bash
# Tests the Debian package without systemd: install, start, remove, purge. To be run as root, on a throw-away machine.
set -euo pipefail
trap 'echo "FAILED at line $LINENO: $BASH_COMMAND"' ERR
say() { printf '    %s\n' "$*"; }

named() { find /etc /home /opt /usr /var -xdev -name '*mpc-auth-proxy*' | sort; }
named >/tmp/before
dpkg --install /trial/package.deb >/dev/null
[[ $(getent passwd mpc-auth-proxy | cut -d : -f 7) == /usr/sbin/nologin ]]
[[ $(stat -c %U:%a /etc/mpc-auth-proxy/keys /var/log/mpc-auth-proxy /var/lib/mpc-auth-proxy | tr '\n' ' ') == \
    'root:700 mpc-auth-proxy:750 mpc-auth-proxy:700 ' ]]
# Every file is as packed.
dpkg --verify mpc-auth-proxy
for script in bash-completion/completions/mpc-auth-proxy; do bash -n "/usr/share/$script"; done
# A page of its own for each command.
for command in '' $(mpc-auth-proxy --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/-\1/p' | grep --invert-match --line-regexp -- '-help'); do
    grep --quiet --ignore-case "^\.TH \"\?mpc-auth-proxy$command" <(zcat "/usr/share/man/man1/mpc-auth-proxy$command.1.gz")
done
said=$(mpc-auth-proxy check --config /etc/mpc-auth-proxy/proxy.yaml 2>&1)
# The keys are yours to bring.
grep --quiet '^0 errors, 2 warnings' <<<"$said"
if command -v logrotate >/dev/null; then
    said=$(logrotate --debug /etc/logrotate.d/mpc-auth-proxy 2>&1)
    [[ ! ${said,,} == *error* ]]
fi
say "installed: $(dpkg-query --show --showformat '${Installed-Size} KiB' mpc-auth-proxy), depends on $(dpkg-query --show --showformat '${Depends}' mpc-auth-proxy)"

# Started by hand, as its user, on the smallest example.
export HUAWEICLOUD_SDK_AK=AK HUAWEICLOUD_SDK_SK=SK
setpriv --reuid mpc-auth-proxy --regid mpc-auth-proxy --clear-groups \
    mpc-auth-proxy run --config /usr/share/doc/mpc-auth-proxy/examples/minimal/proxy.yaml >/tmp/records 2>/tmp/log &
proxy=$!
code() { curl --silent --output /dev/null --write-out '%{http_code}' -X DELETE http://127.0.0.1:8080/v2/elsewhere/editing/jobs/1 || true; }
for _ in $(seq 150); do
    [[ $(code) == 403 ]] && break
    sleep 0.2
done
[[ $(code) == 403 ]]
kill "$proxy"
wait "$proxy"
grep --quiet '"error.reason":"unknown_project"' /tmp/records
say 'started without systemd, and stopped'

# A new installation keeps the configuration.
echo '# ours' >>/etc/mpc-auth-proxy/policy.yaml
echo secret >/etc/mpc-auth-proxy/keys/secret-key
dpkg --install /trial/package.deb >/dev/null
tail -n 1 /etc/mpc-auth-proxy/policy.yaml | grep --quiet '^# ours$'
dpkg --remove mpc-auth-proxy >/dev/null
[[ ! -e /usr/bin/mpc-auth-proxy && -e /etc/mpc-auth-proxy/policy.yaml && -e /etc/mpc-auth-proxy/keys/secret-key ]]
dpkg --purge mpc-auth-proxy >/dev/null
[[ ! -e /etc/mpc-auth-proxy && ! -e /var/lib/mpc-auth-proxy && ! -e /etc/logrotate.d/mpc-auth-proxy ]]
diff /tmp/before <(named)
say 'removed, and purged'
echo 'INSTALLED: ok'
