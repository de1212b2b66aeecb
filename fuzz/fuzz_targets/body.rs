//! Is what is sent of a create's body what another reader finds in what came, and nothing else?
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mpc_auth_proxy::fuzz::judge_body(bytes);
});
