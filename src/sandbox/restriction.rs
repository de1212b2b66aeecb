//! The state of a sandbox measure.

use std::fmt;

/// The state of a measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restriction {
    /// It is in force.
    On,
    /// It is in force as far as this kernel supports it.
    Partly,
    /// It is not in force, for this reason.
    Off(String),
}

impl From<nix::Result<()>> for Restriction {
    fn from(result: nix::Result<()>) -> Self {
        result.map_or_else(|error| Self::Off(error.desc().into()), |()| Self::On)
    }
}

/// Formats as in `/status` and the log.
impl fmt::Display for Restriction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Partly => f.write_str("on, as far as this kernel goes"),
            Self::Off(reason) => write!(f, "off: {reason}"),
        }
    }
}
