//! Checks that what is permitted is exactly a call of the grammar by a proven caller, whatever the bytes are. For
//! fuzzers and tests only.
//!
//! [`World::judge`] decides on a head as the product does, from its raw bytes on, and compares that with the plain
//! reading in `oracle`, which knows the text of a head and nothing of the product. [`judge_head`] compares how the
//! recogniser reads a head with how hyper does. [`judge_body`] and [`judge_answer`] compare what is sent of a body and shown
//! of an answer with what serde_json reads in them.

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
