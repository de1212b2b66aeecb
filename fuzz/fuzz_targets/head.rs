//! Fuzzes request heads: hyper reads what is accepted in the same way, in whatever pieces it arrives.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mpc_auth_proxy::fuzz::judge_head(bytes);
});
