//! `policy explain`: explains the decision for one call.

mod command;
mod recorded;

pub(super) use command::Explain;

#[cfg(test)]
mod tests;
