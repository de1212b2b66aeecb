//! Caller authentication.
//!
//! It precedes policy, because rules name callers. The only way from a request to an [`Identity`] is [`Callers::identify`],
//! which checks every credential of the request and never falls back from an invalid one to a weaker one. It does not know
//! what a caller may do.

mod bearer;
mod caller_id;
mod callers;
mod certificate;
mod error;
mod jwks;
mod loopback;
mod nobody;
mod peer;
mod proof;
mod sdk_signature;
mod service_account;
mod spiffe;
mod summary;
#[cfg(test)]
mod tests;

pub use bearer::{DigestError, TokenDigest};
pub use caller_id::{CallerId, CallerIdError};
pub use callers::{Callers, Identity};
pub use certificate::{Certificate, CertificateError};
pub use error::IdentityError;
pub use jwks::{KeySet, KeySetError};
pub use loopback::{OwnerError, SocketEnds};
pub use nobody::{is_no_group, is_nobody};
pub use peer::{Peer, PeerAddress, Presented};
pub use proof::{Claim, Proof, ProofKind};
pub use sdk_signature::Signer;
pub use service_account::ServiceAccount;
pub use spiffe::{DnsName, NameError, SpiffeId};
