#!/bin/bash
# Runs a trial on a throw-away copy of this machine's files.
#
#   unshare --mount bash clean.sh FOLDER chroot|boot TRIAL      with FOLDER mounted as /trial
set -euo pipefail
trial=$(realpath "$1")
mount --make-rprivate /
scratch=$trial-scratch
mkdir -p "$scratch"
mount -t tmpfs -o size=1g tmpfs "$scratch"
mkdir "$scratch"/{upper,work,root}
root=$scratch/root
mount -t overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$root"
mkdir -p "$root/trial"
cp -r "$trial"/. "$root/trial"
# Without anything that runs or is configured here.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/mpc-auth-proxy* "$root"/usr/sbin/policy-rc.d
case $2 in
    chroot)
        mount -t proc proc "$root/proc"
        mount -t tmpfs tmpfs "$root/run"
        mount -t tmpfs tmpfs "$root/tmp"
        mount --rbind /dev "$root/dev"
        exec chroot "$root" bash "/trial/$3"
        ;;
    boot)
        cat >"$root/etc/systemd/system/trial.service" <<UNIT
[Unit]
After=basic.target
Wants=basic.target
[Service]
Type=oneshot
ExecStart=/bin/bash /trial/$3
ExecStopPost=/bin/systemctl --no-block --force poweroff
TimeoutStartSec=8min
StandardOutput=append:/trial/said
StandardError=append:/trial/said
UNIT
        timeout 540 systemd-nspawn --quiet --directory="$root" --register=no --keep-unit --private-network --boot \
            systemd.unit=trial.service >"$scratch/console" 2>&1 </dev/null || true
        cat "$root/trial/said" || cat "$scratch/console"
        ;;
esac
