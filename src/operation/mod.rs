//! Operations: the catalogue, and the strict grammar of request targets.
//!
//! The target is parsed once, here, from raw text; policy and signing work on the result, and no later stage sees the
//! caller's bytes. Nothing is decoded or normalised, so there is only one reading of a target. It does not know which
//! projects exist.

mod catalogue;
mod list;
mod segment;
mod target;

pub use catalogue::{
    ACTIONS, Access, CATALOGUE, CREATE, DELETE, Form, JobIds, LARGEST_ANSWER, Operation, VIEW, Version,
};
pub use list::List;
pub use segment::Segment;
pub use target::{Jobs, Target, TargetError};

#[cfg(test)]
mod tests;
