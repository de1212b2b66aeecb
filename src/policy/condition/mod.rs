//! Conditions of rules. The conditions of Huawei's IAM 5.0, with its meaning.
//!
//! It stands below `policy`, which asks it only for rules whose four lists match. Of the values of a key one is
//! enough; keys and operators must all hold. A fact of the job may be unknown, and then so may be whether it holds:
//! see [`Truth`]. It reads no clock and looks up no name: what it compares with was parsed once, what it compares is
//! on the [`Call`](super::Call), and comparing allocates nothing.

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
