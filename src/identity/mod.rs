//! Caller authentication.
//!
//! It stands before policy because a rule names callers, and the only way from a request to an [`Identity`]
//! is [`Callers::identify`]. It weighs every proof on the request and never falls back from one that is wrong
//! to one that is weaker. It does not know what a caller may do.

mod bearer;
mod certificate;
mod jwks;
mod loopback;
mod nobody;
mod peer;
mod presented;
mod proof;
mod sdk_signature;
mod service_account;
mod spiffe;

pub use bearer::{DigestError, TokenDigest};
pub use certificate::{Certificate, CertificateError};
pub use jwks::{KeySet, KeySetError};
pub use loopback::{OwnerError, SocketEnds};
pub use nobody::{is_no_group, is_nobody};
pub use peer::{Peer, PeerAddress};
pub use proof::{Claim, Proof, ProofKind};
pub use sdk_signature::Signer;
pub use service_account::ServiceAccount;
pub use spiffe::{DnsName, NameError, SpiffeId};

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use http::HeaderMap;

use crate::reason::Reason;

/// A caller's name in the policy: 1 to 64 of `A-Z a-z 0-9 . _ -`, not starting with `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(Arc<str>);

/// A text is not a caller's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a caller name is 1 to 64 characters of A-Z a-z 0-9 . _ -, not starting with `_`")]
pub struct CallerIdError;

/// What a request brings along that may prove its caller.
#[derive(Clone, Copy)]
pub struct Presented<'r> {
    /// Where it comes from.
    pub peer: &'r Peer,
    /// Its method.
    pub method: &'r str,
    /// Its raw target, as on the request line.
    pub target: &'r str,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// The SHA-256 of its body. `None` where it has none, or none yet.
    pub body: Option<[u8; 32]>,
    /// When it came.
    pub now: DateTime<Utc>,
}

/// A proved caller. Only [`Callers::identify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    caller: CallerId,
    proof: ProofKind,
}

/// Every caller of the policy, with what proves it.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    ids: Vec<CallerId>,
    proofs: Vec<(Proof, CallerId)>,
    /// Those of the service accounts, each once: a token is verified once for each.
    key_sets: Vec<Arc<KeySet>>,
    signers: bool,
    owners: bool,
}

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

impl Callers {
    /// The callers, each with everything that proves it.
    pub fn new(callers: Vec<(CallerId, Vec<Proof>)>) -> Self {
        let ids = callers.iter().map(|(caller, _)| caller.clone()).collect();
        let each = |(caller, proofs): (CallerId, Vec<Proof>)| {
            proofs.into_iter().map(move |proof| (proof, caller.clone()))
        };
        let proofs: Vec<(Proof, CallerId)> = callers.into_iter().flat_map(each).collect();
        let mut key_sets: Vec<Arc<KeySet>> = Vec::new();
        for (proof, _) in &proofs {
            if let Proof::ServiceAccount(ServiceAccount { keys, .. }) = proof
                && !key_sets.contains(keys)
            {
                key_sets.push(Arc::clone(keys));
            }
        }
        // Known before the sandbox closes.
        nobody::learn();
        let any = |kind| proofs.iter().any(|(proof, _)| proof.kind() == kind);
        let (signers, owners) = (any(ProofKind::SdkSignature), any(ProofKind::Loopback));
        Self { ids, proofs, key_sets, signers, owners }
    }

    /// The callers, in the order of the policy.
    pub fn ids(&self) -> &[CallerId] {
        &self.ids
    }

    /// Every proof there is, with the caller it stands for, in the order they were given.
    pub fn proofs(&self) -> impl Iterator<Item = (&CallerId, &Proof)> {
        self.proofs.iter().map(|(proof, caller)| (caller, proof))
    }

    /// Whether any caller is proved by the owner of its socket, so that one who is not known is worth a word.
    pub fn need_owners(&self) -> bool {
        self.owners
    }

    /// Whether any caller is proved by its signature, so that the hash of a body is worth computing.
    pub fn need_signatures(&self) -> bool {
        self.signers
    }

    /// The one caller that all proofs on a request agree on, with the strongest of them.
    ///
    /// # Errors
    /// Where no proof is there, two disagree, or one is there and wrong; see [`IdentityError`].
    pub fn identify(&self, presented: &Presented<'_>) -> Result<Identity, IdentityError> {
        self.identify_by(presented, sdk_signature::verify)
    }

    /// Whether a request whose body is yet to come is worth reading it: its proofs hold, and a signature by a known key may.
    /// Then this is who it is, and where the proof is a signature, who it would be: [`identify`](Self::identify) says so
    /// when the body is there.
    ///
    /// # Errors
    /// Where no proof is there, two disagree, or one is there and wrong; see [`IdentityError`].
    pub fn precheck(&self, presented: &Presented<'_>) -> Result<Identity, IdentityError> {
        self.identify_by(presented, sdk_signature::precheck)
    }

    fn identify_by(&self, presented: &Presented<'_>, verify: Verify) -> Result<Identity, IdentityError> {
        let Presented { peer, headers, now, .. } = *presented;
        if let Some(certificate) = &peer.certificate {
            certificate.as_ref().map_err(|error| *error)?.check_at(now)?;
        }
        let mut identity = self.proved(|proof| proof.is_held_by(peer))?;
        if let Some(by_signature) = self.by_signature(presented, verify)? {
            identity = Some(agree(identity, by_signature)?);
        }
        if peer.bearer {
            for token in bearer::presented(headers)?.into_iter().flatten() {
                identity = Some(agree(identity, self.by_token(&token, now)?)?);
            }
        } else if bearer::is_presented(headers) {
            // It may be another caller's, and cannot be looked at.
            return Err(IdentityError::TokenNotTaken);
        }
        identity.ok_or(IdentityError::NoProof)
    }

    /// The caller whose key signed the request. An access key that nobody has is no proof and no offence: SDKs sign
    /// with whatever they are given, and callers that are proved otherwise give them dummies.
    fn by_signature(
        &self,
        presented: &Presented<'_>,
        verify: Verify,
    ) -> Result<Option<Identity>, IdentityError> {
        if !self.signers {
            return Ok(None);
        }
        let mut identity = None;
        for access_key in sdk_signature::access_keys(presented.headers) {
            for (proof, caller) in &self.proofs {
                let Proof::SdkSignature(signer) = proof else { continue };
                if signer.key.access_key().as_bytes() == access_key {
                    verify(presented, signer)?;
                    identity = Some(agree(identity, Identity::by(proof, caller))?);
                }
            }
        }
        Ok(identity)
    }

    /// The caller whose token this is: one that is known by its digest, or else one of a service account.
    fn by_token(&self, token: &bearer::Token<'_>, now: DateTime<Utc>) -> Result<Identity, IdentityError> {
        let known = self.proved(|proof| matches!(proof, Proof::Bearer(own) if *own == token.digest))?;
        if let Some(identity) = known {
            return Ok(identity);
        }
        if self.key_sets.is_empty() || !service_account::looks_like_one(token.text) {
            return Err(IdentityError::WrongToken);
        }
        let (mut found, mut wrong) = (None, IdentityError::WrongToken);
        for keys in &self.key_sets {
            match self.by_service_account(token.text, keys, now) {
                Ok(identity) => found = Some(agree(found, identity)?),
                Err(IdentityError::Conflict) => return Err(IdentityError::Conflict),
                Err(error) => wrong = error,
            }
        }
        found.ok_or(wrong)
    }

    fn by_service_account(
        &self,
        token: &str,
        keys: &Arc<KeySet>,
        now: DateTime<Utc>,
    ) -> Result<Identity, IdentityError> {
        let claims = service_account::verify(token, keys, now)?;
        let held = |account: &ServiceAccount| account.keys == *keys && account.is_claimed_by(&claims);
        self.proved(|proof| matches!(proof, Proof::ServiceAccount(account) if held(account)))?
            .ok_or(NO_SUCH_ACCOUNT)
    }

    /// Looks at every proof, also after one that holds, so that the time taken does not tell which did.
    fn proved(&self, holds: impl Fn(&Proof) -> bool) -> Result<Option<Identity>, IdentityError> {
        let mut outcome = Ok(None);
        for (proof, caller) in &self.proofs {
            if holds(proof) {
                outcome = outcome.and_then(|so_far| agree(so_far, Identity::by(proof, caller)).map(Some));
            }
        }
        outcome
    }
}

/// How a signature is judged.
type Verify = fn(&Presented<'_>, &Signer) -> Result<(), IdentityError>;

impl Identity {
    fn by(proof: &Proof, caller: &CallerId) -> Self {
        Self { caller: caller.clone(), proof: proof.kind() }
    }

    /// The caller.
    pub fn caller(&self) -> &CallerId {
        &self.caller
    }

    /// The strongest of the proofs that held.
    pub fn proof(&self) -> ProofKind {
        self.proof
    }
}

impl CallerId {
    /// The name, where the text obeys the grammar. A leading `_` is kept for `_unknown` in the metrics.
    ///
    /// # Errors
    /// [`CallerIdError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, CallerIdError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('_');
        if valid { Ok(Self(text.into())) } else { Err(CallerIdError) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name, shared.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The stronger of two proofs of one caller.
fn agree(so_far: Option<Identity>, next: Identity) -> Result<Identity, IdentityError> {
    match so_far {
        Some(other) if other.caller != next.caller => Err(IdentityError::Conflict),
        Some(other) if other.proof > next.proof => Ok(other),
        _ => Ok(next),
    }
}

const NO_SUCH_ACCOUNT: IdentityError = IdentityError::WrongServiceAccount(Reason::UnknownServiceAccount);

#[cfg(test)]
mod tests;
