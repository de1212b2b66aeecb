# To be sourced: sets $root to the repository, and $BINARY to the program under test, which is built as a release if not given.
root=$(git rev-parse --show-toplevel)
if [[ -z ${BINARY:-} ]]; then
    cargo build --release --locked --manifest-path "$root/Cargo.toml"
    BINARY=${CARGO_TARGET_DIR:-$root/target}/release/mpc-auth-proxy
elif [[ $BINARY != /* ]]; then
    BINARY=$root/$BINARY
fi
export BINARY
