//! Is what is taken for a head read in the same way by hyper, whatever pieces it comes in?
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mpc_auth_proxy::fuzz::judge_head(bytes);
});
