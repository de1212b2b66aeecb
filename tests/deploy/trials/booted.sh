#!/bin/bash
# Runs the commands of deploy/README.md and docs/OPERATING.md for a machine with systemd, and tests their promises. To be run by
# systemd, as root, on a throw-away machine.
set -euo pipefail
trap 'echo "FAILED at line $LINENO: $BASH_COMMAND"; systemctl status --no-pager --full mpc-auth-proxy || true; cat /run/followed || true; journalctl --no-pager --lines 40 --unit "$unit" || true' ERR
unit=mpc-auth-proxy.service
job=http://localhost/v2/media-prod/editing/jobs

say() { printf '    %s\n' "$*"; }
property() { systemctl show --value --property "$1" "$unit"; }
call() { curl --silent --output /dev/null --write-out '%{http_code}' --unix-socket /run/mpc-auth-proxy.sock -X DELETE "$job/$1"; }
eventually() {
    local end=$((SECONDS + 30))
    until "$@"; do
        ((SECONDS < end)) || { echo "never: $*"; return 1; }
        sleep 0.2
    done
}
# Succeeds if a command fails, because `set -e` ignores negated commands.
fails() { if "$@" 2>/dev/null; then echo "it succeeded: $*"; return 1; fi; }
says() { property StatusText | grep --quiet --fixed-strings -- "$1"; }

# The commands of a section.
follow() {
    local commands
    commands=$(awk -v section="$2" -v number="$3" -f /trial/blocks.awk "/trial/$1") || { echo "$1 has no block $3 in $2"; return 1; }
    bash -euo pipefail -c "$commands" >/run/followed 2>&1 || { cat /run/followed; return 1; }
    say "followed: $1, $2"
}

cd /trial
follow README.md 'A machine with systemd' 1
[[ $(systemctl is-enabled "$unit" || true) == disabled ]]
[[ $(systemctl is-active "$unit" || true) == inactive ]]
[[ $(stat -c %U:%a /etc/mpc-auth-proxy/keys /var/log/mpc-auth-proxy | tr '\n' ' ') == 'root:700 mpc-auth-proxy:750 ' ]]

# The stand-in instead of Huawei's cloud.
systemd-run --quiet --unit cloud mpc-auth-proxy testserver --bind 127.0.0.1:9443 --project 0a1b2c3d4e5f60718293a4b5c6d7e8f9
eventually curl --silent --output /dev/null http://127.0.0.1:9443/_test/requests
put() { curl --silent --fail -X PUT -d '{"state":"WAITING"}' "http://127.0.0.1:9443/_test/jobs/0a1b2c3d4e5f60718293a4b5c6d7e8f9/$1"; }
keys=$(journalctl --no-pager --output cat --unit cloud | grep -o 'HUAWEICLOUD_SDK_[AS]K=.*')
sed -i 's|https://mpc.cn-north-4.myhuaweicloud.com|http://127.0.0.1:9443|' /etc/mpc-auth-proxy/proxy.yaml
sed -i 's|unix: { uid: 1001 }|unix: { user: root }|' /etc/mpc-auth-proxy/policy.yaml
grep -o 'SDK_AK=.*' <<<"$keys" | cut -d = -f 2 >access-key
grep -o 'SDK_SK=.*' <<<"$keys" | cut -d = -f 2 >secret-key
# Without keys it is not even started.
fails systemctl start "$unit"
[[ $(property ExecMainStatus) == 243 ]]
systemctl stop mpc-auth-proxy.socket
systemctl reset-failed "$unit" 2>/dev/null || true
follow README.md 'A machine with systemd' 3
[[ $(property ActiveState) == active ]]
says 'serving, policy '
put 1
[[ $(call 1) == 204 ]]
grep --quiet '"event":"request"' /var/log/mpc-auth-proxy/audit.log
say "started: $(property StatusText)"

# Nobody else can read the keys, and the proxy not the originals.
main=$(property MainPID)
[[ $(stat -c %U "/proc/$main") == mpc-auth-proxy || $(ps -o user= -p "$main") == mpc-auth-+ ]]
fails nsenter --target "$main" --mount ls /etc/mpc-auth-proxy/keys/access-key
say 'its keys are copies that systemd made'

follow OPERATING.md 'Change who may do what' 1
follow OPERATING.md 'Stop it' 1
put 1
[[ $(call 1) == 204 ]]

# Reloads: a good one, one that is refused, and back.
systemctl reload "$unit"
cp /etc/mpc-auth-proxy/policy.yaml /root/policy.yaml
sed -i 's/effect: allow/effect: perhaps/' /etc/mpc-auth-proxy/policy.yaml
fails systemctl reload "$unit"
[[ $(property ActiveState) == active ]]
eventually says 'its last reload is refused: '
cp /root/policy.yaml /etc/mpc-auth-proxy/policy.yaml
systemctl reload "$unit"
eventually says 'serving, policy '
say 'a reload that is refused fails, and says where'

# A freeze survives a restart.
mpc-auth-proxy freeze --config /etc/mpc-auth-proxy/proxy.yaml --reason 'trial' >/dev/null
eventually says 'it is frozen: everybody'
systemctl restart "$unit"
[[ $(call 1) == 503 ]]
mpc-auth-proxy unfreeze --config /etc/mpc-auth-proxy/proxy.yaml >/dev/null
eventually says 'serving, policy '
[[ $(call none) == 403 ]]
say 'what is frozen stays frozen'

# Restarts under load: nobody is refused, and every call is answered.
stop=/run/trial-stop
for caller in 1 2 3 4; do
    (while [[ ! -e $stop ]]; do call none && echo; done >"/run/answers-$caller") &
done
for _ in 1 2 3 4 5; do
    sleep 0.5
    began=$(date +%s%3N)
    systemctl restart "$unit"
    took=$(($(date +%s%3N) - began))
done
sleep 0.5
touch "$stop"
wait
[[ $(sort -u /run/answers-*) == 403 ]]
say "$(cat /run/answers-* | wc -l) calls over 5 restarts, of which the last took $took ms, and nobody was refused"

# An upgrade is a restart, too.
rm "$stop"
(while [[ ! -e $stop ]]; do call none && echo; done >/run/answers-upgrade) &
follow OPERATING.md Upgrade 1
touch "$stop"
wait
[[ $(sort -u /run/answers-upgrade) == 403 ]]
say "$(wc -l </run/answers-upgrade) calls over an upgrade"

# Rotation loses no record.
if command -v logrotate >/dev/null; then
    follow OPERATING.md 'Logs and records' 1
    eventually test -e /var/log/mpc-auth-proxy/audit.log
    [[ $(call none) == 403 ]]
    grep --quiet '"event":"request"' /var/log/mpc-auth-proxy/audit.log
    [[ -s /var/log/mpc-auth-proxy/audit.log.1 ]]
    say 'records are rotated'
fi

# A stuck proxy is restarted.
before=$(property MainPID)
restarts=$(property NRestarts)
kill -STOP "$before"
waited=0
until (($(property NRestarts) > restarts)); do
    ((waited++ < 120)) || { echo 'the watchdog never bit'; false; }
    sleep 1
done
eventually says 'serving, policy '
[[ $(call none) == 403 ]]
say "the watchdog ended it after $waited s, and another one serves"

# A new key.
cp secret-key good-key
echo no-key-of-the-cloud >secret-key
install -m 0400 secret-key /etc/mpc-auth-proxy/keys/
systemctl restart "$unit"
put 2
[[ $(call 2) == 401 ]]
cp good-key secret-key
follow OPERATING.md Rotate 1
[[ $(call 2) == 204 ]]
say 'a new key takes a restart'

# Removal.
systemctl disable --quiet --now "$unit" mpc-auth-proxy.socket
[[ ! -e /run/mpc-auth-proxy.sock ]]
dpkg --purge mpc-auth-proxy >/dev/null
[[ ! -e /etc/mpc-auth-proxy && ! -e /usr/bin/mpc-auth-proxy ]]
[[ -s /var/log/mpc-auth-proxy/audit.log ]]
say 'purged, the records are left'

# Installation by hand, on the rest.
rm -rf /var/log/mpc-auth-proxy
userdel mpc-auth-proxy
cp -r checkout /root/checkout
cp access-key good-key /root/checkout
mv /root/checkout/good-key /root/checkout/secret-key
cd /root/checkout
sed -i 's|https://mpc.cn-north-4.myhuaweicloud.com|http://127.0.0.1:9443|' deploy/systemd/proxy.yaml
sed -i 's|unix: { uid: 1001 }|unix: { user: root }|' deploy/systemd/policy.yaml
follow README.md 'A machine with systemd' 2
follow README.md 'A machine with systemd' 3
put 3
[[ $(call 3) == 204 ]]
say 'installed by hand, it does the same'
echo 'BOOTED: ok'
