#!/usr/bin/env bash
# Packs a built program as a tarball and a Debian package.
#
#   bash deploy/package.sh PROGRAM FOLDER
#
# Both contain the program, manual pages, completions and the example configuration; the package also has units, a user and log
# rotation. cargo-deb is installed into target/tools if missing. With SOURCE_DATE_EPOCH, the same program gives the same bytes.
set -euo pipefail
if (($# != 2)); then
    echo 'usage: bash deploy/package.sh PROGRAM FOLDER' >&2
    exit 2
fi
program=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tools=$PWD/target/tools
version=$("$program" --version | cut -d ' ' -f 2)
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
# The packed files must be readable by everybody, whatever the umask here.
umask 022

[[ -x $tools/bin/cargo-deb ]] ||
    CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --no-default-features \
        --root "$tools" --version 3.8.0 cargo-deb

# The paths of `assets` in Cargo.toml.
staged=$PWD/target/package
rm -rf "$staged"
mkdir -p "$staged/completions"
install -m 0755 "$program" "$staged/mpc-auth-proxy"
mkdir "$staged/man"
"$program" man --out "$staged/man"
"$program" completions bash >"$staged/completions/mpc-auth-proxy"
"$program" completions fish >"$staged/completions/mpc-auth-proxy.fish"
"$program" completions zsh >"$staged/completions/_mpc-auth-proxy"
"$tools/bin/cargo-deb" deb --quiet --no-build --no-strip --deb-revision '' --output "$out/"

name=mpc-auth-proxy-$version-$(uname -m)-linux
folder=$staged/$name
mkdir "$folder"
cp -r "$staged"/{mpc-auth-proxy,man,completions} LICENSE README.md CHANGELOG.md config "$folder"
mkdir "$folder/deploy"
cp -r deploy/{README.md,systemd,debian} "$folder/deploy"
tar --create --directory "$staged" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip --no-name --best >"$out/$name.tar.gz"
(cd "$out" && printf '%s\n' "$name.tar.gz" ./*.deb)
