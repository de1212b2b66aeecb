//! Errors of authentication.

use super::CertificateError;
use crate::reason::Reason;

/// Why no caller is authenticated. The texts may be shown to the caller; none contains anything it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The request has no valid credentials.
    #[error("{}", Reason::NoProof)]
    NoProof,
    /// Two credentials identify different callers.
    #[error("{}", Reason::ConflictingProofs)]
    Conflict,
    /// A bearer token of no known caller.
    #[error("{}", Reason::UnknownToken)]
    WrongToken,
    /// The headers for bearer tokens are malformed or ambiguous. Holds why.
    #[error("{0}")]
    MalformedToken(Reason),
    /// A bearer token on a listener that does not accept them.
    #[error("{}", Reason::TokenNotTaken)]
    TokenNotTaken,
    /// A client certificate that identifies nobody.
    #[error("{0}")]
    WrongCertificate(#[from] CertificateError),
    /// An invalid Kubernetes service account token. Holds why.
    #[error("invalid service-account token: {0}")]
    WrongServiceAccount(Reason),
    /// An invalid signature with a key that was issued for this proxy. Holds why.
    #[error("invalid SDK signature: {0}")]
    WrongSignature(Reason),
}

impl IdentityError {
    /// Returns the reason for the record.
    pub fn reason(self) -> Reason {
        match self {
            Self::NoProof => Reason::NoProof,
            Self::Conflict => Reason::ConflictingProofs,
            Self::WrongToken => Reason::UnknownToken,
            Self::TokenNotTaken => Reason::TokenNotTaken,
            Self::WrongCertificate(error) => error.reason(),
            Self::MalformedToken(reason)
            | Self::WrongServiceAccount(reason)
            | Self::WrongSignature(reason) => reason,
        }
    }
}
