//! Restrictions: how far a measure of the sandbox is in force.

use std::fmt;

/// One measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// It is in force.
    On,
    /// It is in force as far as this kernel goes.
    Partly,
    /// It is not, for this reason.
    Off(String),
}

impl From<nix::Result<()>> for Restriction {
    fn from(result: nix::Result<()>) -> Self {
        result.map_or_else(|error| Self::Off(error.desc().into()), |()| Self::On)
    }
}

/// As `/status` and the log have it.
impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Partly => f.write_str("on, as far as this kernel goes"),
            Self::Off(reason) => write!(f, "off: {reason}"),
        }
    }
}
