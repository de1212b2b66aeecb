//! Which caller does this request come from?
//!
//! It stands before policy because a rule names callers, and the only way from a request to an [`Identity`]
//! is [`Callers::identify`]. It weighs every proof on the request and never falls back from one that is wrong
//! to one that is weaker. It does not know what a caller may do.

mod bearer;
mod peer;

pub use bearer::{DigestError, TokenDigest};
pub use peer::{Peer, PeerAddress};

use std::fmt;
use std::sync::Arc;

use http::HeaderMap;

/// A caller's name in the policy: 1 to 64 of `A-Z a-z 0-9 . _ -`, not starting with `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(Arc<str>);

/// A text is not a caller's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a caller's name is 1 to 64 characters of A-Z a-z 0-9 . _ - and does not start with `_`")]
pub struct CallerIdError;

/// What proves a caller, as the policy writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Whoever can reach the listener of this name.
    Listener(Arc<str>),
    /// The process at the other end of a Unix socket. Where both are given both must match; neither matches nobody.
    Unix {
        /// Its user id.
        uid: Option<u32>,
        /// Its group id.
        gid: Option<u32>,
    },
    /// Whoever has the token with this digest.
    Bearer(TokenDigest),
}

/// The kinds of proof, the weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProofKind {
    /// By the listener that was reached.
    Listener,
    /// By the user or group id of the process.
    Unix,
    /// By a bearer token.
    Bearer,
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
    proofs: Vec<(Proof, CallerId)>,
}

/// Why no caller is proved. The texts may be shown to the caller: none holds anything it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Nothing on the request proves a caller.
    #[error("nothing proves which caller this is")]
    NoProof,
    /// Two proofs are of different callers.
    #[error("the proofs on this request are of different callers")]
    Conflict,
    /// A bearer token that no caller has.
    #[error("the bearer token is not one of a known caller")]
    WrongToken,
    /// The headers that carry bearer tokens cannot be read in one way only. Says why.
    #[error("{0}")]
    MalformedToken(&'static str),
}

impl Callers {
    /// The callers, each with everything that proves it.
    pub fn new(callers: Vec<(CallerId, Vec<Proof>)>) -> Self {
        let each = |(caller, proofs): (CallerId, Vec<Proof>)| {
            proofs.into_iter().map(move |proof| (proof, caller.clone()))
        };
        Self { proofs: callers.into_iter().flat_map(each).collect() }
    }

    /// The one caller that all proofs on a request agree on, with the strongest of them.
    ///
    /// # Errors
    /// Where no proof is there, two disagree, or one is there and wrong; see [`IdentityError`].
    pub fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Result<Identity, IdentityError> {
        let mut identity = self.proved(|proof| proof.is_held_by(peer))?;
        if peer.bearer {
            for token in bearer::presented(headers)?.into_iter().flatten() {
                let presented = Proof::Bearer(token);
                let by_token = self.proved(|proof| *proof == presented)?;
                identity = Some(agree(identity, by_token.ok_or(IdentityError::WrongToken)?)?);
            }
        }
        identity.ok_or(IdentityError::NoProof)
    }

    /// Looks at every proof, also after one that holds, so that the time taken does not tell which did.
    fn proved(&self, holds: impl Fn(&Proof) -> bool) -> Result<Option<Identity>, IdentityError> {
        let mut outcome = Ok(None);
        for (proof, caller) in &self.proofs {
            if holds(proof) {
                let next = Identity { caller: caller.clone(), proof: proof.kind() };
                outcome = outcome.and_then(|so_far| agree(so_far, next).map(Some));
            }
        }
        outcome
    }
}

impl Identity {
    /// The caller.
    pub fn caller(&self) -> &CallerId {
        &self.caller
    }

    /// The strongest of the proofs that held.
    pub fn proof(&self) -> ProofKind {
        self.proof
    }
}

impl Proof {
    /// Which kind it is.
    pub fn kind(&self) -> ProofKind {
        match self {
            Self::Listener(_) => ProofKind::Listener,
            Self::Unix { .. } => ProofKind::Unix,
            Self::Bearer(_) => ProofKind::Bearer,
        }
    }

    fn is_held_by(&self, peer: &Peer) -> bool {
        match (self, peer.address) {
            (Self::Listener(name), _) => *name == peer.listener,
            (Self::Unix { uid: None, gid: None }, _) => false,
            (Self::Unix { uid, gid }, PeerAddress::Unix { uid: peer_uid, gid: peer_gid }) => {
                uid.is_none_or(|uid| uid == peer_uid) && gid.is_none_or(|gid| gid == peer_gid)
            }
            (Self::Unix { .. }, PeerAddress::Tcp(_)) | (Self::Bearer(_), _) => false,
        }
    }
}

impl ProofKind {
    /// As in the audit record's `caller.identified_by`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Unix => "unix",
            Self::Bearer => "bearer",
        }
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
