//! What proves a caller. The kinds of proof, and how strong each is.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use super::{
    bearer::TokenDigest,
    nobody::{is_no_group, is_nobody},
    peer::{Peer, PeerAddress},
    sdk_signature::Signer,
    service_account::ServiceAccount,
    spiffe::{DnsName, SpiffeId},
};

/// What proves a caller, as the policy writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Whoever can reach the listener of this name.
    Listener(Arc<str>),
    /// Whoever made the socket at the other end of a TCP connection on this machine.
    Loopback {
        /// Their user id.
        uid: u32,
    },
    /// The process at the other end of a Unix socket. Where both are given both must match; neither matches nobody.
    Unix {
        /// Its user id.
        uid: Option<u32>,
        /// A group of its, primary or supplementary.
        gid: Option<u32>,
    },
    /// Whoever has the token with this digest.
    Bearer(TokenDigest),
    /// Whoever has a token of this Kubernetes service account.
    ServiceAccount(ServiceAccount),
    /// Whoever signs with the key of this signer.
    SdkSignature(Signer),
    /// Whoever has the key of a client certificate with this DNS name.
    Dns(DnsName),
    /// Whoever has the key of a client certificate with this SPIFFE id.
    Spiffe(SpiffeId),
}

/// What a proof asks for, to find others that ask for the same. It does not print.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Claim([u8; 32]);

/// The kinds of proof, the weakest first: the audit record names the strongest that held.
///
/// The first three are what the kernel knows of a connection. A token can be copied from wherever it was seen; one
/// of a service account is of use to one audience for a short time; the key of an SDK signature is never sent, and
/// that of a certificate proves the whole connection. Of names, a SPIFFE id is made to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProofKind {
    /// By the listener that was reached.
    Listener,
    /// By the user who made the socket on this machine.
    Loopback,
    /// By the user or group id of the process.
    Unix,
    /// By a bearer token.
    Bearer,
    /// By a token of a Kubernetes service account.
    ServiceAccount,
    /// By the signature of Huawei's SDK.
    SdkSignature,
    /// By a DNS name in a client certificate.
    Dns,
    /// By the SPIFFE id in a client certificate.
    Spiffe,
}

impl Proof {
    /// Which kind it is.
    pub fn kind(&self) -> ProofKind {
        match self {
            Self::Listener(_) => ProofKind::Listener,
            Self::Loopback { .. } => ProofKind::Loopback,
            Self::Unix { .. } => ProofKind::Unix,
            Self::Bearer(_) => ProofKind::Bearer,
            Self::ServiceAccount(_) => ProofKind::ServiceAccount,
            Self::SdkSignature(_) => ProofKind::SdkSignature,
            Self::Dns(_) => ProofKind::Dns,
            Self::Spiffe(_) => ProofKind::Spiffe,
        }
    }

    /// What it takes to be identified by it. Two proofs with the same claim can only stand for one caller.
    pub fn claim(&self) -> Claim {
        let of = |parts: &[&[u8]]| Claim::new(self.kind().as_str(), parts);
        let id = |id: &Option<u32>| id.map_or_else(String::new, |id| id.to_string());
        match self {
            Self::Listener(text) => of(&[text.as_bytes()]),
            Self::Loopback { uid } => of(&[&uid.to_be_bytes()]),
            Self::Unix { uid, gid } => of(&[id(uid).as_bytes(), id(gid).as_bytes()]),
            Self::Bearer(digest) => of(&[digest.as_bytes()]),
            // The keys are those of the issuer, whichever file they are in.
            Self::ServiceAccount(ServiceAccount { namespace, name, audience, issuer, .. }) => {
                of(&[issuer, namespace, name, audience].map(|text| text.as_bytes()))
            }
            // An access key names one secret key.
            Self::SdkSignature(signer) => of(&[signer.key.access_key().as_bytes()]),
            Self::Dns(name) => of(&[name.as_str().as_bytes()]),
            Self::Spiffe(id) => of(&[id.as_str().as_bytes()]),
        }
    }

    /// The claims that whoever can make this one can make too.
    pub fn implied(&self) -> Vec<Claim> {
        let Self::Unix { uid: Some(uid), gid: Some(gid) } = self else { return vec![] };
        let (user, group) =
            (Self::Unix { uid: Some(*uid), gid: None }, Self::Unix { uid: None, gid: Some(*gid) });
        vec![user.claim(), group.claim()]
    }

    /// Tells secret keys apart. With the same one, what is signed by either is signed by both: the access key
    /// stands in a header that the signature does not cover.
    pub fn secret(&self) -> Option<Claim> {
        let Self::SdkSignature(signer) = self else { return None };
        Some(Claim::new("secret", &[&signer.key.fingerprint()]))
    }

    /// Whether the connection alone gives the proof.
    pub(super) fn is_held_by(&self, peer: &Peer) -> bool {
        let certificate = || peer.certificate.as_ref().and_then(|certificate| certificate.as_ref().ok());
        match (self, &peer.address) {
            (Self::Listener(name), _) => *name == peer.listener,
            (Self::Loopback { uid }, PeerAddress::Tcp { owner, .. }) => {
                *owner == Some(*uid) && !is_nobody(*uid)
            }
            (Self::Unix { uid: None, gid: None }, _) => false,
            (Self::Unix { uid, gid }, PeerAddress::Unix { uid: peer_uid, gid: peer_gid, groups }) => {
                let is_in = |gid| gid == *peer_gid || groups.contains(&gid);
                uid.is_none_or(|uid| uid == *peer_uid && !is_nobody(uid))
                    && gid.is_none_or(|gid| is_in(gid) && !is_no_group(gid))
            }
            (Self::Dns(name), _) => certificate().is_some_and(|certificate| certificate.has_name(name)),
            (Self::Spiffe(id), _) => certificate().is_some_and(|certificate| certificate.has_id(id)),
            (Self::Loopback { .. }, PeerAddress::Unix { .. })
            | (Self::Unix { .. }, PeerAddress::Tcp { .. })
            | (Self::Bearer(_) | Self::ServiceAccount(_) | Self::SdkSignature(_), _) => false,
        }
    }
}

impl Claim {
    fn new(kind: &str, parts: &[&[u8]]) -> Self {
        let mut digest = Sha256::new();
        for part in [kind.as_bytes()].iter().chain(parts) {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

/// It may be of a secret.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[claim]")
    }
}

impl ProofKind {
    /// As in the audit record's `caller.identified_by`, and the key in `identify`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Loopback => "loopback",
            Self::Unix => "unix",
            Self::Bearer => "bearer",
            Self::ServiceAccount => "service_account",
            Self::SdkSignature => "sdk_signature",
            Self::Dns => "dns",
            Self::Spiffe => "spiffe",
        }
    }
}
