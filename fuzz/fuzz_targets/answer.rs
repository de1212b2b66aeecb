//! Is what is shown of an answer to a view the permitted jobs of it, as another reader finds them?
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    mpc_auth_proxy::fuzz::judge_answer(bytes);
});
