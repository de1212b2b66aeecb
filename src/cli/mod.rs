//! Which commands are there?

pub mod testserver;
