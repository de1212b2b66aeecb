//! Fuzzes create bodies: what is sent is what a second reader finds in the input, and nothing else.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mpc_auth_proxy::fuzz::judge_body(bytes);
});
