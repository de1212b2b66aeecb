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
    ids: Vec<CallerId>,
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
        let ids = callers.iter().map(|(caller, _)| caller.clone()).collect();
        let each = |(caller, proofs): (CallerId, Vec<Proof>)| {
            proofs.into_iter().map(move |proof| (proof, caller.clone()))
        };
        Self { ids, proofs: callers.into_iter().flat_map(each).collect() }
    }

    /// The callers, in the order of the policy.
    pub fn ids(&self) -> &[CallerId] {
        &self.ids
    }

    /// Every proof there is, with the caller it stands for, in the order they were given.
    pub fn proofs(&self) -> impl Iterator<Item = (&CallerId, &Proof)> {
        self.proofs.iter().map(|(proof, caller)| (caller, proof))
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

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use IdentityError::{Conflict, MalformedToken, NoProof, WrongToken};

    const ONCALL: &str = "Bearer oncall-0123456789";
    const ROTATED: &str = "Bearer rotated-0123456789";
    const EDITOR: &str = "Bearer editor-0123456789";
    const NOBODY: &str = "Bearer nobody-0123456789";

    fn callers() -> Callers {
        let token =
            |value: &str| Proof::Bearer(TokenDigest::of(value.trim_start_matches("Bearer ").as_bytes()));
        let unix = |uid, gid| Proof::Unix { uid, gid };
        let caller = |name: &str, proofs| (CallerId::parse(name).unwrap(), proofs);
        Callers::new(vec![
            caller("editor-api", vec![Proof::Listener("app".into()), token(EDITOR)]),
            caller("batch-cleaner", vec![unix(Some(1001), None), unix(Some(1002), Some(50))]),
            caller("group", vec![unix(None, Some(60))]),
            caller("nothing-given", vec![unix(None, None)]),
            caller("oncall", vec![token(ONCALL), token(ROTATED), Proof::Listener("door".into())]),
        ])
    }

    fn tcp(listener: &str) -> Peer {
        Peer {
            listener: listener.into(),
            address: PeerAddress::Tcp(([127, 0, 0, 1], 40000).into()),
            bearer: listener != "app",
            local: true,
        }
    }

    fn unix(listener: &str, uid: u32, gid: u32) -> Peer {
        Peer { address: PeerAddress::Unix { uid, gid }, ..tcp(listener) }
    }

    fn identify(
        peer: &Peer,
        lines: &[(&'static str, &str)],
    ) -> Result<(String, &'static str), IdentityError> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        }
        let identity = callers().identify(peer, &headers)?;
        Ok((identity.caller().to_string(), identity.proof().as_str()))
    }

    #[test]
    fn the_connection_proves_a_caller() {
        for (why, peer, expected) in [
            ("by its listener", tcp("app"), Ok(("editor-api", "listener"))),
            ("not by another", tcp("mesh"), Err(NoProof)),
            ("by its user", unix("local", 1001, 7), Ok(("batch-cleaner", "unix"))),
            ("by user and group", unix("local", 1002, 50), Ok(("batch-cleaner", "unix"))),
            ("not by one of them", unix("local", 1002, 51), Err(NoProof)),
            ("not by the other", unix("local", 1003, 50), Err(NoProof)),
            ("by its group", unix("local", 1, 60), Ok(("group", "unix"))),
            (
                "by its user, whoever else reaches the listener",
                unix("app", 2000, 7),
                Ok(("editor-api", "listener")),
            ),
            ("not as root where nothing is given", unix("local", 0, 0), Err(NoProof)),
            ("not by two callers' proofs", unix("app", 1001, 7), Err(Conflict)),
            ("not by two callers' ids", unix("local", 1001, 60), Err(Conflict)),
        ] {
            let expected = expected.map(|(caller, proof)| (caller.to_owned(), proof));
            assert_eq!(identify(&peer, &[]), expected, "{why}");
        }
    }

    #[test]
    fn a_token_proves_a_caller_and_no_wrong_one_is_passed_over() {
        let (proxy, origin) = ("proxy-authorization", "authorization");
        let sdk = "SDK-HMAC-SHA256 Access=dummy, SignedHeaders=host, Signature=00";
        for (why, peer, lines, expected) in [
            ("proxy header", tcp("mesh"), &[(proxy, ONCALL)][..], Ok(("oncall", "bearer"))),
            ("origin header", tcp("mesh"), &[(origin, ONCALL)], Ok(("oncall", "bearer"))),
            ("second token", tcp("mesh"), &[(origin, ROTATED)], Ok(("oncall", "bearer"))),
            (
                "two tokens of one caller",
                tcp("mesh"),
                &[(proxy, ONCALL), (origin, ROTATED)],
                Ok(("oncall", "bearer")),
            ),
            ("two tokens of two callers", tcp("mesh"), &[(proxy, ONCALL), (origin, EDITOR)], Err(Conflict)),
            ("one right, one wrong", tcp("mesh"), &[(proxy, ONCALL), (origin, NOBODY)], Err(WrongToken)),
            ("one wrong, one right", tcp("mesh"), &[(proxy, NOBODY), (origin, ONCALL)], Err(WrongToken)),
            ("nobody's", tcp("mesh"), &[(proxy, NOBODY)], Err(WrongToken)),
            ("nobody's, though the listener proves", tcp("door"), &[(proxy, NOBODY)], Err(WrongToken)),
            ("nobody's, though the user proves", unix("local", 1001, 7), &[(proxy, NOBODY)], Err(WrongToken)),
            ("the strongest is recorded", tcp("door"), &[(origin, ONCALL)], Ok(("oncall", "bearer"))),
            ("the listener is another's", tcp("door"), &[(origin, EDITOR)], Err(Conflict)),
            ("the user is another's", unix("local", 1001, 7), &[(origin, ONCALL)], Err(Conflict)),
            ("an SDK's signature is no proof", tcp("mesh"), &[(origin, sdk)], Err(NoProof)),
            (
                "nor in the way of one",
                tcp("mesh"),
                &[(origin, sdk), (proxy, ONCALL)],
                Ok(("oncall", "bearer")),
            ),
            ("nor of the listener", tcp("door"), &[(origin, sdk)], Ok(("oncall", "listener"))),
            ("not accepted here", tcp("app"), &[(proxy, ONCALL)], Ok(("editor-api", "listener"))),
            (
                "not even looked at here",
                tcp("app"),
                &[(origin, "Basic x"), (origin, "")],
                Ok(("editor-api", "listener")),
            ),
        ] {
            let expected = expected.map(|(caller, proof)| (caller.to_owned(), proof));
            assert_eq!(identify(&peer, lines), expected, "{why}");
        }
    }

    #[test]
    fn headers_that_can_be_read_two_ways_prove_nothing() {
        let (proxy, origin) = ("proxy-authorization", "authorization");
        for lines in [
            &[(proxy, ONCALL), (proxy, ONCALL)][..],
            &[(origin, ONCALL), (origin, ROTATED)],
            &[(origin, ONCALL), (origin, "SDK-HMAC-SHA256 x")],
            &[("proxy_authorization", ONCALL)],
            &[("proxy_authorization", ONCALL), (proxy, ONCALL)],
        ] {
            assert!(matches!(identify(&tcp("door"), lines), Err(MalformedToken(_))), "{lines:?}");
        }
        assert_eq!(identify(&tcp("app"), &[("proxy_authorization", ONCALL)]), identify(&tcp("app"), &[]));
    }

    #[test]
    fn a_token_of_two_callers_is_neithers() {
        let shared = || vec![Proof::Bearer(TokenDigest::of(b"shared-0123456789"))];
        let [one, other] = ["one", "other"].map(|name| CallerId::parse(name).unwrap());
        let callers = Callers::new(vec![(one, shared()), (other, shared())]);
        let headers = [(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer shared-0123456789"))];
        assert_eq!(callers.identify(&tcp("mesh"), &headers.into_iter().collect()), Err(Conflict));
    }

    #[test]
    fn every_caller_is_listed_also_one_that_nothing_proves() {
        let callers = callers();
        let ids: Vec<&str> = callers.ids().iter().map(CallerId::as_str).collect();
        assert_eq!(ids, ["editor-api", "batch-cleaner", "group", "nothing-given", "oncall"]);
    }

    #[test]
    fn a_callers_name_obeys_its_grammar() {
        let longest = "a".repeat(64);
        for text in ["a", "editor-api", "Batch_2.x", "-", ".", &longest] {
            assert_eq!(CallerId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "_unknown", "_", "a b", "a/b", "a\n", "é", &"a".repeat(65)] {
            assert_eq!(CallerId::parse(text), Err(CallerIdError), "{text:?}");
        }
    }
}
