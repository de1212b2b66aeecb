//! Fuzzes decisions: what is permitted is exactly a call of the grammar by a proven caller, whatever the bytes are.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use mpc_auth_proxy::fuzz::World;

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

fuzz_target!(|bytes: &[u8]| {
    WORLD.with_borrow_mut(|world| world.judge(bytes));
});
