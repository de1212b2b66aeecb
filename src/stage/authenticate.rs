//! Authenticates callers: [`Received`] → [`Identified`].
//!
//! It follows `receive` directly, so a caller that is not authenticated learns nothing else. The caller's headers end here.
//! The policy in force is taken once, here, and decides the whole request.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Method;
use sha2::{Digest, Sha256};

use super::{ActivePolicy, BufferedBody, Payload, Received, Refusal, Stage, exchange::Exchange};
use crate::{
    identity::{Identity, Peer, Presented, ProofKind},
    log::LIMITED,
};

/// A request whose caller is authenticated.
pub struct Identified<'r> {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) body: Option<Box<BufferedBody>>,
    pub(super) decision_context: DecisionContext,
    pub(super) exchange: Exchange<'r>,
    /// Private, so that only this stage can make one.
    _made_here: (),
}

/// An authenticated caller, and the policy that decides its request.
#[derive(Clone)]
pub(super) struct DecisionContext {
    pub(super) identity: Identity,
    pub(super) in_force: Arc<ActivePolicy>,
}

/// Authenticates callers.
#[derive(Clone)]
pub struct Authenticate {
    in_force: Arc<ArcSwap<ActivePolicy>>,
}

impl Authenticate {
    /// Authenticates callers by the policy that is in force when their request arrives.
    pub fn new(in_force: Arc<ArcSwap<ActivePolicy>>) -> Self {
        Self { in_force }
    }
}

impl Authenticate {
    /// Identifies the caller before the body is read. A signature over the body may still turn out to be wrong.
    pub(super) fn precheck(&self, presented: &Presented<'_>) -> Result<Identity, Refusal> {
        Ok(self.in_force.load().callers.precheck(presented)?)
    }
}

impl<'r> Stage<Received<'r>> for Authenticate {
    type After = Identified<'r>;

    fn check(&self, request: Received<'r>) -> Result<Identified<'r>, Refusal> {
        let in_force = self.in_force.load_full();
        let Received { method, target, headers, payload, exchange, .. } = request;
        let (body, missing) = match payload {
            Payload::None => (None, None),
            Payload::Whole(brought) => (Some(brought), None),
            Payload::Missing(refusal) => (None, Some(refusal)),
        };
        // Hashing is slow, and most callers do not sign.
        let signed = body.as_ref().filter(|_| in_force.callers.need_signatures());
        let presented = Presented {
            peer: &exchange.peer,
            method: method.as_str(),
            target: &target,
            headers: &headers,
            body: signed.map(|body| Sha256::digest(&body.bytes).into()),
            // The whole decision uses one time.
            now: exchange.record.opened_at(),
        };
        let identified = match missing {
            None => in_force.callers.identify(&presented),
            Some(_) => in_force.callers.precheck(&presented),
        };
        let identity = identified.inspect_err(|error| {
            let shown = presented.in_words();
            let Peer { listener, address, .. } = &*exchange.peer;
            tracing::info!(target: LIMITED, %listener, %address, shown, %error, "caller not authenticated");
            exchange.record.presented = shown;
        })?;
        // A signature cannot be verified without the body.
        if missing.is_none() || identity.proof() != ProofKind::SdkSignature {
            exchange.record.caller = Some(identity.caller().shared());
            exchange.record.identified_by = Some(identity.proof().as_str());
        }
        if let Some(refusal) = missing {
            return Err(*refusal);
        }
        let decision_context = DecisionContext { identity, in_force };
        Ok(Identified { method, target, body, decision_context, exchange, _made_here: () })
    }
}
