//! Checks that, for any bytes, a permitted request is exactly a call of the grammar by an authenticated caller. For fuzzers
//! and tests only.
//!
//! [`World::judge`] decides on the raw bytes of a head like the product, and compares the result with `oracle`, an
//! independent parser. [`judge_head`] compares the recogniser with hyper. [`judge_body`] and [`judge_answer`] compare sent
//! bodies and shown answers with what serde_json reads.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a fuzzer stops at the first promise that is broken"
)]

mod editing;
mod head;
#[cfg(test)]
mod mutate;
mod oracle;
mod world;

pub use editing::{judge_answer, judge_body};
pub use head::judge_head;
pub use world::World;

#[cfg(test)]
mod tests;
