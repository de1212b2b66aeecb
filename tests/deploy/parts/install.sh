#!/usr/bin/env bash
# Tests that `cargo install` gives a program that runs, in a folder of its own.
source "$(dirname "$0")/../lib.sh"

# With the same options as .ci/run, so that nothing has to be compiled again.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
(cd "$root" && cargo install --quiet --locked --path . --root "$work/cargo") || fail 'cargo install'
[[ $(ls "$work/cargo/bin") == mpc-auth-proxy ]] || fail "it installs $(ls "$work/cargo/bin")"
needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
grep --quiet "Rust $needed" "$root/README.md" || fail "README.md does not say that it needs Rust $needed"
cd "$work"
env -i "$work/cargo/bin/mpc-auth-proxy" demo --once >demo || fail 'its demo'
grep --quiet '^8\. ' demo || fail 'its demo'
say "$("$work/cargo/bin/mpc-auth-proxy" --version), $(stat -c %s "$work/cargo/bin/mpc-auth-proxy") bytes"
