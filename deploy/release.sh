#!/usr/bin/env bash
# Builds a release into a folder: a tarball, a Debian package, the statically linked program, the bill of materials (CycloneDX),
# and the digests.
#
#   bash deploy/release.sh [FOLDER]                # target/dist by default
#
# The folder's old content is replaced once everything is built, if it is a release.
#
# Builds are reproducible: the same commit, with the same versions of Rust and of the C compiler on the same kind of machine, has
# the same digests in any directory and at any time. cargo-cyclonedx and cargo-deb are installed into target/tools if missing. With
# Rust's musl target and musl-gcc there is a program with musl, too.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
out=$(realpath --canonicalize-missing -- "${1:-$repository/target/dist}")
if (($# > 1)) || [[ ${1:-} == -* ]]; then
    echo 'usage: bash deploy/release.sh [FOLDER]' >&2
    exit 2
fi
if [[ -e $out && ! -e $out/SHA256SUMS && -n $(ls -A "$out") ]]; then
    echo "$out holds something else than a release, which would be deleted: name an empty folder" >&2
    exit 2
fi
cd "$repository"
tools=$PWD/target/tools
home=${CARGO_HOME:-$HOME/.cargo}
if [[ $PWD$home == *[[:space:]=]* ]]; then
    echo "compilers cannot be told to leave out a path with a space or an equals sign: $PWD, $home" >&2
    exit 1
fi
if [[ -n $(git status --porcelain) ]]; then
    echo 'the work tree has changes: commit them, so that what is built can be built again' >&2
    exit 1
fi
[[ -x $tools/bin/cargo-cyclonedx ]] ||
    CARGO_TARGET_DIR=$tools/build CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --root "$tools" --version 0.5.9 \
        cargo-cyclonedx

# The only date in the built files.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
# Locales order the digests differently.
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0 LC_ALL=C PATH="$tools/bin:$PATH"
# Panic messages and the C code's messages contain paths of this machine.
remapped="--remap-path-prefix=$PWD=/src --remap-path-prefix=$home=/cargo"
export CFLAGS="-ffile-prefix-map=$PWD=/src -ffile-prefix-map=$home=/cargo"
export CARGO_TARGET_DIR=$PWD/target/reproducible
host=$(rustc --print host-tuple)
musl=${host/-gnu/-musl}

# No wrapper of rustc, because cargo mixes its path into symbol names.
RUSTFLAGS=$remapped cargo build --release --locked
# As in docker/Dockerfile, which explains it.
RUSTFLAGS="$remapped $(sed -n 's/^ENV RUSTFLAGS="\(.*\)"$/\1/p' deploy/docker/Dockerfile | tr -d '\\')" \
    cargo build --release --locked --target "$host"

built=$CARGO_TARGET_DIR/dist
rm -rf "$built"
mkdir "$built"
version=$("$CARGO_TARGET_DIR/release/mpc-auth-proxy" --version | cut -d ' ' -f 2)
name=mpc-auth-proxy-$version-$(uname -m)-linux
cargo cyclonedx --format json --describe binaries
# Only this package has a path. cargo omits the name if it equals the directory's.
sed -E 's|path\+file://[^#"]*#(mpc-auth-proxy@)?|path+file:///src#mpc-auth-proxy@|g' ./*.cdx.json >"$built/mpc-auth-proxy-$version.cdx.json"
rm ./*.cdx.json
bash deploy/package.sh "$CARGO_TARGET_DIR/release/mpc-auth-proxy" "$built" >/dev/null
install -m 0755 "$CARGO_TARGET_DIR/$host/release/mpc-auth-proxy" "$built/$name-static"
if [[ -d $(rustc --print target-libdir --target "$musl") ]] && command -v musl-gcc >/dev/null; then
    RUSTFLAGS=$remapped cargo build --release --locked --target "$musl"
    install -m 0755 "$CARGO_TARGET_DIR/$musl/release/mpc-auth-proxy" "$built/$name-musl"
else
    echo "==> SKIPPED: a program with musl: Rust's target $musl and musl-gcc are not both there" >&2
fi
(cd "$built" && sha256sum -- * >"$CARGO_TARGET_DIR/SHA256SUMS" && mv "$CARGO_TARGET_DIR/SHA256SUMS" . && cat SHA256SUMS)
mkdir -p "$out"
rm -f "$out"/*
mv "$built"/* "$out"
