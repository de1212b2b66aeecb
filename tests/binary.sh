# Sourced in the repository: its $root, and the program that is tried in $BINARY. Without one, the release is built.
root=$(git rev-parse --show-toplevel)
if [[ -z ${BINARY:-} ]]; then
    cargo build --release --locked --manifest-path "$root/Cargo.toml"
    BINARY=${CARGO_TARGET_DIR:-$root/target}/release/mpc-auth-proxy
elif [[ $BINARY != /* ]]; then
    BINARY=$root/$BINARY
fi
export BINARY
