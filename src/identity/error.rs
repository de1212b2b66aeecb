//! Why no caller is proved.

use super::CertificateError;
use crate::reason::Reason;

/// Why no caller is proved. The texts may be shown to the caller: none holds anything it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nothing on the request proves a caller.
    #[error("{}", Reason::NoProof)]
    NoProof,
    /// Two proofs are of different callers.
    #[error("{}", Reason::ConflictingProofs)]
    Conflict,
    /// A bearer token that no caller has.
    #[error("{}", Reason::UnknownToken)]
    WrongToken,
    /// The headers that carry bearer tokens cannot be read in one way only. Says why.
    #[error("{0}")]
    MalformedToken(Reason),
    /// A bearer token on a listener that takes none.
    #[error("{}", Reason::TokenNotTaken)]
    TokenNotTaken,
    /// A client certificate that proves nobody.
    #[error("{0}")]
    WrongCertificate(#[from] CertificateError),
    /// A token of a Kubernetes service account that proves nobody. Says why.
    #[error("invalid service-account token: {0}")]
    WrongServiceAccount(Reason),
    /// A signature by a key that was issued for this proxy, which is not right. Says why.
    #[error("invalid SDK signature: {0}")]
    WrongSignature(Reason),
}

impl IdentityError {
    /// The cause.
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
