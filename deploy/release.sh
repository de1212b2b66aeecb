#!/usr/bin/env bash
# Builds what is released, into a folder: the program, what it is made of (CycloneDX), and the digests of both.
#
#   bash deploy/release.sh [FOLDER]                # target/dist where none is given
#
# The program does not depend on when or in which directory it is built: the same commit, built with the same versions
# of Rust and of the C compiler for the same machine, has the same digest. cargo-cyclonedx is installed into
# target/tools where it is not there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-target/dist}
if (($# > 1)) || [[ $out == -* ]]; then
    echo 'usage: bash deploy/release.sh [FOLDER]' >&2
    exit 2
fi
tools=$PWD/target/tools
home=${CARGO_HOME:-$HOME/.cargo}

if [[ -n $(git status --porcelain) ]]; then
    echo 'the work tree has changes: commit them, so that what is built can be built again' >&2
    exit 1
fi
[[ -x $tools/bin/cargo-cyclonedx ]] ||
    CARGO_TARGET_DIR=$tools/build cargo install --quiet --locked --root "$tools" --version 0.5.9 cargo-cyclonedx

# The one date that may be in anything that is built.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CARGO_INCREMENTAL=0 PATH="$tools/bin:$PATH"
# Paths of this machine get into messages of panics, and into those of the C code.
export RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=$home=/cargo"
export CFLAGS="-ffile-prefix-map=$PWD=/src -ffile-prefix-map=$home=/cargo"
export CARGO_TARGET_DIR=$PWD/target/reproducible

# No wrapper of rustc: cargo mixes its path into the names of symbols.
cargo build --release --locked
cargo cyclonedx --format json --describe binaries

mkdir -p "$out"
install -m 0755 "$CARGO_TARGET_DIR/release/mpc-auth-proxy" "$out/mpc-auth-proxy"
# cargo leaves out the name where the directory has it too.
sed -E "s|path\\+file://$PWD#(mpc-auth-proxy@)?|path+file:///src#mpc-auth-proxy@|g" ./*.cdx.json >"$out/mpc-auth-proxy.cdx.json"
rm ./*.cdx.json
(cd "$out" && sha256sum mpc-auth-proxy mpc-auth-proxy.cdx.json >SHA256SUMS && cat SHA256SUMS)
