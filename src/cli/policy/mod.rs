//! `policy`: explains, tests, replays and suggests policies, with one file per subcommand.

mod command;
mod container;
#[cfg(test)]
mod document;
#[cfg(test)]
mod enforced;
mod explain;
#[cfg(test)]
mod fixture;
mod junit;
mod records;
mod replay;
mod results;
mod suggest;
mod test;

pub(super) use command::{Args, run};
