//! The faults of bodies, with their positions.
//!
//! They contain no text of the body, which belongs neither in a log nor in an answer.

use crate::reason::Reason;

/// Why a body is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid request body at byte {at}: {problem}")]
pub struct BodyFault {
    /// The byte position, from 0.
    pub at: usize,
    /// The problem.
    pub problem: Problem,
}

/// A problem of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// Not JSON.
    #[error("not JSON: {0}")]
    Syntax(&'static str),
    /// Not an object.
    #[error("expected one JSON object")]
    NoObject,
    /// A name occurs twice in one object.
    #[error("duplicate name in one object")]
    Duplicate,
    /// Nested too deeply.
    #[error("nested deeper than 32 levels")]
    Depth,
    /// Half of a surrogate pair.
    #[error("lone surrogate")]
    Surrogate,
    /// U+0000.
    #[error("U+0000 in a string")]
    Nul,
    /// A name with other characters.
    #[error("a name must be a-z 0-9 _, unescaped, and start with a letter")]
    Name,
    /// A number that parsers might round.
    #[error("a number must have at most 15 digits and no exponent")]
    Number,
    /// A name that other parsers might take for a deciding one. Holds that one.
    #[error("misspelling of `{0}`: correct it or rename it")]
    LookAlike(&'static str),
    /// A deciding member of the wrong type.
    #[error("{0}")]
    Type(&'static str),
    /// An invalid bucket.
    #[error("a bucket name must be 1 to 63 of A-Z a-z 0-9 . _ -, and not `.` or `..`")]
    Bucket,
    /// An ambiguous path.
    #[error("`object`, `file_name`, `output_filename` and `location` must not have {0}")]
    Path(&'static str),
    /// `user_data` is too long.
    #[error("`user_data` exceeds 65535 characters, including the caller's name")]
    UserData,
    /// The two parsers disagree, which is a bug.
    #[error("two parsers disagree on it; this is a bug in mpc-auth-proxy")]
    Disagreement,
}

impl Problem {
    /// Returns the reason for the record.
    pub fn reason(self) -> Reason {
        match self {
            Self::Encoding => Reason::BodyEncoding,
            Self::Syntax(_) => Reason::BodyNotJson,
            Self::NoObject => Reason::BodyNoObject,
            Self::Duplicate => Reason::BodyDuplicateName,
            Self::Depth => Reason::BodyTooDeep,
            Self::Surrogate => Reason::BodyLoneSurrogate,
            Self::Nul => Reason::BodyNul,
            Self::Name => Reason::BodyName,
            Self::Number => Reason::BodyNumber,
            Self::LookAlike(_) => Reason::BodyNameLookalike,
            Self::Type(_) => Reason::BodyMemberType,
            Self::Bucket => Reason::BodyBucket,
            Self::Path(_) => Reason::BodyObjectPath,
            Self::UserData => Reason::BodyUserData,
            Self::Disagreement => Reason::BodyReadersDisagree,
        }
    }
}
