//! Editing jobs as Huawei's API writes them: the bodies that create them, and the answers that show them.
//!
//! It stands after `policy`, whose facts it fills, and before everything that asks or answers. It is pure: bytes go in;
//! facts, and bytes that were written anew, come out. What is sent or shown is never the text that came in: of a create
//! it is what was judged, written once more, and read once more by a reader that shares nothing with the first; of a
//! view it is the permitted jobs alone.
//!
//! The recogniser of JSON is its own because no library here keeps a number's token without reading the text once for
//! each level, and because two readers that are one library agree on its mistakes: the second one is serde_json.

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
