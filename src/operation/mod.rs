//! Operations. The catalogue, and the strict grammar of a request target.
//!
//! It stands before policy and signing because both work on what it returns: the target is parsed once,
//! here, from raw text, and no later stage looks at the caller's bytes again. It decodes nothing and
//! normalises nothing, so there is one reading of a target and no second one to disagree with it.
//! It does not know which projects exist.

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
