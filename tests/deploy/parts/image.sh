#!/usr/bin/env bash
# Tests that the image builds and runs. It needs no Docker daemon: the Dockerfile's lines run in namespaces.
source "$(dirname "$0")/../lib.sh"

have_python || { skip 'image: the linter and the parser of Dockerfiles cannot be installed here'; exit 0; }
file=$deploy/docker/Dockerfile
"$here/.venv/bin/hadolint" --failure-threshold style "$file" || fail 'hadolint'
say 'hadolint: nothing to say'

# The Dockerfile as shell: context, variables, commands and entry point.
"$python" "$here/dockerfile.py" "$file" >"$work/lines.sh"
source "$work/lines.sh"
[[ ${final[FROM]} == scratch ]] || fail "the image is made from ${final[FROM]}"
[[ ${final[USER]} == 65532:65532 ]] || fail "it runs as ${final[USER]}"
[[ ${final[COPY]} == '--from=build /image/ /' ]] || fail "it holds ${final[COPY]}"
chroot=$(command -v chroot)
unshare --mount --net true 2>/dev/null || { skip 'image: no namespace can be made here to build it in'; exit 0; }

# Only files that .dockerignore admits.
mkdir "$work/context"
(cd "$root" && sed -n 's/^!//p' "$file.dockerignore" | xargs cp --parents -rt "$work/context")
mkdir -p "$root/target/image"
cat >"$work/build.sh" <<BUILD
set -euo pipefail
mount --make-rprivate /
mkdir -p $work/{scratch,built}
mount -t tmpfs -o size=1g tmpfs $work/scratch
mkdir $work/scratch/{upper,work,root}
mount -t overlay -o lowerdir=/,upperdir=$work/scratch/upper,workdir=$work/scratch/work overlay $work/scratch/root
cd $work/scratch/root
mkdir -p src image
mount --bind $work/context src
mkdir src/target
mount --bind $root/target/image src/target
mount --bind $work/built image
mount --rbind /dev dev
mount -t proc proc proc
exec chroot . /usr/bin/env ${build[ENV]} /bin/sh -c 'cd "\$1" && eval "\$2"' sh ${build[WORKDIR]} "\$(cat $work/run)"
BUILD
printf '%s' "${build[RUN]}" >"$work/run"
# Not optimised, because only linking matters.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_NET_OFFLINE=true
unshare --mount bash "$work/build.sh" || fail 'the build'
program=$work/built/usr/local/bin/mpc-auth-proxy
readelf --program-headers "$program" | grep --quiet INTERP && fail 'the program asks for a dynamic linker'
say "$(cd "$work/built" && find . -type f | sort | paste --serial --delimiters=' ')"

# It runs on an empty, read-only file system: no /dev, no network but loopback.
mkdir -p "$work/built/proc" "$work/built/etc/mpc-auth-proxy/config" "$work/built/run/mpc-auth-proxy"
# The volume, the tmpfs and the status command of deploy/README.md.
readme=$(tr -d '\\\n' <"$deploy/README.md")
config=$(grep -o 'volume "$PWD/[^":]*:/etc/mpc-auth-proxy/config:ro"' <<<"$readme" | sed 's|.*$PWD/||; s|:.*||')
sockets=$(grep -o 'tmpfs /run/mpc-auth-proxy:[^ ]*' <<<"$readme" | sed 's|.*:||')
status=$(sed -n 's/^docker exec proxy //p' "$deploy/README.md")
cp "$root/$config"/*.yaml "$work/built/etc/mpc-auth-proxy/config/"
chmod -R a+rX "$work/built"
cat >"$work/start.sh" <<START
set -euo pipefail
mount --make-rprivate /
ip link set lo up
mount --bind $work/built $work/built
mount -o remount,bind,ro $work/built
mount -t proc proc $work/built/proc
mount -t tmpfs tmpfs $work/built/tmp
mount -t tmpfs -o $sockets tmpfs $work/built/run/mpc-auth-proxy
inside() { env -i HUAWEICLOUD_SDK_AK=AK HUAWEICLOUD_SDK_SK=SK "$chroot" --userspec=${final[USER]} $work/built "\$@"; }
inside ${final[ENTRYPOINT]} demo --once >$work/demo
umount $work/built/tmp
grep --quiet '^8\. ' $work/demo
if inside ${final[HEALTHCHECK]} 2>/dev/null; then exit 1; fi
env -i HUAWEICLOUD_SDK_AK=AK HUAWEICLOUD_SDK_SK=SK "$chroot" --userspec=${final[USER]} $work/built \
    ${final[ENTRYPOINT]} ${final[CMD]} >$work/records 2>$work/log &
proxy=\$!
for _ in \$(seq 30); do inside ${final[HEALTHCHECK]} 2>/dev/null && break; done
inside ${final[HEALTHCHECK]}
[[ \$(curl --silent --output /dev/null --write-out '%{http_code}' -X DELETE http://127.0.0.1:8080/v2/elsewhere/editing/jobs/1) == 403 ]]
inside /usr/local/bin/$status | grep --quiet '^ready, '
kill \$proxy
wait \$proxy
START
unshare --mount --net --pid --fork bash "$work/start.sh" || fail "the image does not run: $(cat "$work/log")"
grep --quiet '"landlock"' "$work/log" && say "sandbox: $(grep -o '"landlock","state":"[^"]*"' "$work/log")"
say 'it runs as 65532 on a file system that is empty and cannot be written to, and its health is asked by `wait`'
