//! The kinds of caller credentials, by strength.

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

/// A credential that identifies a caller, as written in the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Anybody who can reach this listener.
    Listener(Arc<str>),
    /// The user who created the socket at the other end of a loopback TCP connection.
    Loopback {
        /// The user id.
        uid: u32,
    },
    /// The process at the other end of a Unix socket. All given ids must match; without any it matches nobody.
    Unix {
        /// Its user id.
        uid: Option<u32>,
        /// One of its groups, primary or supplementary.
        gid: Option<u32>,
    },
    /// The bearer of the token with this digest.
    Bearer(TokenDigest),
    /// The bearer of a token of this Kubernetes service account.
    ServiceAccount(ServiceAccount),
    /// The holder of this signer's key.
    SdkSignature(Signer),
    /// The holder of a client certificate with this DNS name.
    Dns(DnsName),
    /// The holder of a client certificate with this SPIFFE id.
    Spiffe(SpiffeId),
}

/// What a credential requires, as a digest to find others that require the same. Never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Claim([u8; 32]);

/// The kinds of caller credentials, weakest first. The audit record names the strongest.
///
/// The first three are what the kernel knows of a connection. A bearer token can be copied wherever it is seen. A service
/// account token works for one audience and a short time. The key of an SDK signature is never sent, and that of a
/// certificate authenticates the whole connection. A SPIFFE id is a stronger name than a DNS name, because it is meant to
/// identify a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProofKind {
    /// The listener.
    Listener,
    /// The user who created the socket on this machine.
    Loopback,
    /// The user or group id of the process.
    Unix,
    /// A bearer token.
    Bearer,
    /// A Kubernetes service account token.
    ServiceAccount,
    /// The signature of Huawei's SDK.
    SdkSignature,
    /// A DNS name in a client certificate.
    Dns,
    /// The SPIFFE id in a client certificate.
    Spiffe,
}

impl Proof {
    /// Returns its kind.
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

    /// Returns what it requires. Two credentials with the same claim must identify the same caller.
    pub fn claim(&self) -> Claim {
        let of = |parts: &[&[u8]]| Claim::new(self.kind().as_str(), parts);
        let id = |id: &Option<u32>| id.map_or_else(String::new, |id| id.to_string());
        match self {
            Self::Listener(text) => of(&[text.as_bytes()]),
            Self::Loopback { uid } => of(&[&uid.to_be_bytes()]),
            Self::Unix { uid, gid } => of(&[id(uid).as_bytes(), id(gid).as_bytes()]),
            Self::Bearer(digest) => of(&[digest.as_bytes()]),
            // The keys belong to the issuer, so their file does not matter.
            Self::ServiceAccount(ServiceAccount { namespace, name, audience, issuer, .. }) => {
                of(&[issuer, namespace, name, audience].map(|text| text.as_bytes()))
            }
            // An access key identifies its secret key.
            Self::SdkSignature(signer) => of(&[signer.key.access_key().as_bytes()]),
            Self::Dns(name) => of(&[name.as_str().as_bytes()]),
            Self::Spiffe(id) => of(&[id.as_str().as_bytes()]),
        }
    }

    /// Returns the other claims that its holder can make, too.
    pub fn implied(&self) -> Vec<Claim> {
        let Self::Unix { uid: Some(uid), gid: Some(gid) } = self else { return vec![] };
        let (user, group) =
            (Self::Unix { uid: Some(*uid), gid: None }, Self::Unix { uid: None, gid: Some(*gid) });
        vec![user.claim(), group.claim()]
    }

    /// Returns the digest of its secret key. Two access keys must not share one: the signature does not cover the header
    /// with the access key, so a signature by either would be valid for both.
    pub fn secret(&self) -> Option<Claim> {
        let Self::SdkSignature(signer) = self else { return None };
        Some(Claim::new("secret", &[&signer.key.fingerprint()]))
    }

    /// Whether the connection alone matches it.
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

/// Prints nothing, because it may be of a secret.
impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[claim]")
    }
}

impl ProofKind {
    /// Returns its name in the audit record's `caller.identified_by`, which is also its key in `identify`.
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
