//! Editing jobs in Huawei's API: the bodies that create them, and the answers that show them.
//!
//! It is pure: bytes go in; facts, and rewritten bytes, come out. Received text is never sent or shown as it is: a create is
//! rewritten from what was judged and checked by a second, independent parser; the answer to a view has the permitted jobs
//! only.
//!
//! The JSON parser is our own because no library here keeps number tokens without parsing the text once per level, and
//! because two parsers from one library would share its mistakes: the second one is serde_json.

mod answer;
mod body;
mod fault;
mod json;
mod inspect;
mod media_type;
mod naive;
mod places;
mod show;
#[cfg(test)]
mod tests;
mod write;

pub use answer::{AnswerError, Answered, Lookup, Viewed, ViewedJob, created};
pub use body::Body;
pub use fault::{BodyFault, Problem};
pub use media_type::is_json;
pub use show::nothing;
