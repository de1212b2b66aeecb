//! The callers of a policy, and the one whom the proofs on a request stand for.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    CallerId, IdentityError, KeySet, Presented, Proof, ProofKind, ServiceAccount, Signer, bearer, nobody,
    sdk_signature, service_account,
};
use crate::reason::Reason;

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

/// The stronger of two proofs of one caller.
fn agree(so_far: Option<Identity>, next: Identity) -> Result<Identity, IdentityError> {
    match so_far {
        Some(other) if other.caller != next.caller => Err(IdentityError::Conflict),
        Some(other) if other.proof > next.proof => Ok(other),
        _ => Ok(next),
    }
}

const NO_SUCH_ACCOUNT: IdentityError = IdentityError::WrongServiceAccount(Reason::UnknownServiceAccount);
