//! Identifies the caller of a request by its credentials.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    CallerId, IdentityError, KeySet, Presented, Proof, ProofKind, ServiceAccount, Signer, bearer, nobody,
    sdk_signature, service_account,
};
use crate::reason::Reason;

/// An authenticated caller. Only [`Callers::identify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    caller: CallerId,
    proof: ProofKind,
}

/// The callers of a policy, with the credentials that identify them.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    ids: Vec<CallerId>,
    proofs: Vec<(Proof, CallerId)>,
    /// The distinct key sets of service accounts. A token is verified once with each.
    key_sets: Vec<Arc<KeySet>>,
    signers: bool,
    owners: bool,
}

impl Callers {
    /// Creates the callers with their credentials.
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
        // Read before the sandbox closes.
        nobody::learn();
        let any = |kind| proofs.iter().any(|(proof, _)| proof.kind() == kind);
        let (signers, owners) = (any(ProofKind::SdkSignature), any(ProofKind::Loopback));
        Self { ids, proofs, key_sets, signers, owners }
    }

    /// Returns the callers in the order of the policy.
    pub fn ids(&self) -> &[CallerId] {
        &self.ids
    }

    /// Returns all credentials with their callers, in the given order.
    pub fn proofs(&self) -> impl Iterator<Item = (&CallerId, &Proof)> {
        self.proofs.iter().map(|(proof, caller)| (caller, proof))
    }

    /// Whether any caller is identified by the owner of its socket, so that an unknown owner is worth a log line.
    pub fn need_owners(&self) -> bool {
        self.owners
    }

    /// Whether any caller is identified by a signature, so that bodies have to be hashed.
    pub fn need_signatures(&self) -> bool {
        self.signers
    }

    /// Returns the one caller that all credentials of a request identify, with the strongest of them.
    ///
    /// # Errors
    /// If there are no credentials, two conflict, or one is invalid; see [`IdentityError`].
    pub fn identify(&self, presented: &Presented<'_>) -> Result<Identity, IdentityError> {
        self.identify_by(presented, sdk_signature::verify)
    }

    /// Identifies the caller before the body is read. Credentials must be valid; a signature is only checked for a known
    /// key, and [`identify`](Self::identify) verifies it with the body.
    ///
    /// # Errors
    /// If there are no credentials, two conflict, or one is invalid; see [`IdentityError`].
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
            // It may be another caller's, and cannot be checked.
            return Err(IdentityError::TokenNotTaken);
        }
        identity.ok_or(IdentityError::NoProof)
    }

    /// Returns the caller whose key signed the request. An unknown access key identifies nobody and is no error: SDKs always
    /// sign, and callers with other credentials give them dummy keys.
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

    /// Returns the caller of a token, by its digest or else by its service account.
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

    /// Checks every credential, even after a match, so that the time taken does not reveal which one matched.
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

/// A function that checks a signature.
type Verify = fn(&Presented<'_>, &Signer) -> Result<(), IdentityError>;

impl Identity {
    fn by(proof: &Proof, caller: &CallerId) -> Self {
        Self { caller: caller.clone(), proof: proof.kind() }
    }

    /// Returns the caller.
    pub fn caller(&self) -> &CallerId {
        &self.caller
    }

    /// Returns the kind of the strongest credential.
    pub fn proof(&self) -> ProofKind {
        self.proof
    }
}

/// Returns the stronger of two credentials, if they identify the same caller.
fn agree(so_far: Option<Identity>, next: Identity) -> Result<Identity, IdentityError> {
    match so_far {
        Some(other) if other.caller != next.caller => Err(IdentityError::Conflict),
        Some(other) if other.proof > next.proof => Ok(other),
        _ => Ok(next),
    }
}

const NO_SUCH_ACCOUNT: IdentityError = IdentityError::WrongServiceAccount(Reason::UnknownServiceAccount);
