//! Conditions of rules, with the semantics of Huawei's IAM 5.0.
//!
//! `policy` evaluates them only for rules whose four lists match. One of a key's values must match; all keys and operators
//! must hold. A fact of the job may be unknown, and then so may be the result: see [`Truth`]. Evaluation reads no clock,
//! looks up no name and allocates nothing: values are parsed once, and everything else is on the [`Call`](super::Call).

mod check;
mod key;
mod operator;
mod template;
#[cfg(test)]
mod tests;
mod validate;

pub(super) use check::Truth;
pub use check::{Condition, Test};
pub use key::{Key, Keys};
pub use operator::Operator;
pub use template::VariableError;
pub use validate::{TestError, ValueError};
