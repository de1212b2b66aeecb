//! Fuzzes answers to views: what is shown are the permitted jobs, as a second reader finds them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mpc_auth_proxy::fuzz::judge_answer(bytes);
});
