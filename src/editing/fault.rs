//! What is wrong with a body, and where.
//!
//! Nothing of the body's text is in it: what a caller wrote belongs neither into a log nor into an answer.

use crate::reason::Reason;

/// Why a body is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid request body at byte {at}: {problem}")]
pub struct BodyFault {
    /// Counted from 0.
    pub at: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong.
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
    /// A name is there twice in one object.
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
    /// A name of other letters.
    #[error("a name must be a-z 0-9 _, unescaped, and start with a letter")]
    Name,
    /// A number that readers might round.
    #[error("a number must have at most 15 digits and no exponent")]
    Number,
    /// A name that other readers might take for one that decides. Holds that one.
    #[error("misspelling of `{0}`: correct it or rename it")]
    LookAlike(&'static str),
    /// A member that decides, of another type.
    #[error("{0}")]
    Type(&'static str),
    /// A bucket that is none.
    #[error("a bucket name must be 1 to 63 of A-Z a-z 0-9 . _ -, and not `.` or `..`")]
    Bucket,
    /// A path that may be read in two ways.
    #[error("`object`, `file_name`, `output_filename` and `location` must not have {0}")]
    Path(&'static str),
    /// Too much of the caller's own word.
    #[error("`user_data` exceeds 65535 characters, including the caller's name")]
    UserData,
    /// The two readers do not agree: a bug.
    #[error("two parsers disagree on it; this is a bug in mpc-auth-proxy")]
    Disagreement,
}

impl Problem {
    /// The cause.
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
