//! Authenticates callers: [`Received`] → [`Identified`].
//!
//! It stands right behind `receive`: whoever cannot prove who they are learns nothing else. From here on the
//! caller's headers are gone. The policy in force is taken once, here, and decides the whole request.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Method;
use sha2::{Digest, Sha256};

use super::{ActivePolicy, BufferedBody, Payload, Received, Refusal, Stage, exchange::Exchange};
use crate::{
    identity::{Identity, Peer, Presented, ProofKind},
    log::LIMITED,
};

/// A request whose caller is proven.
pub struct Identified<'r> {
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) body: Option<Box<BufferedBody>>,
    pub(super) decision_context: DecisionContext,
    pub(super) exchange: Exchange<'r>,
    /// Nobody else makes one.
    _made_here: (),
}

/// A proven caller, and the policy to decide by.
#[derive(Clone)]
pub(super) struct DecisionContext {
    pub(super) identity: Identity,
    pub(super) in_force: Arc<ActivePolicy>,
}

/// Proves callers.
#[derive(Clone)]
pub struct Authenticate {
    in_force: Arc<ArcSwap<ActivePolicy>>,
}

impl Authenticate {
    /// Proves callers by the policy that is in force when a request comes in.
    pub fn new(in_force: Arc<ArcSwap<ActivePolicy>>) -> Self {
        Self { in_force }
    }
}

impl Authenticate {
    /// Who seems to call, where the body is yet to come: proven, or by a signature that shows to be right when it is there.
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
        // Hashing is long, and most callers are proven otherwise.
        let signed = body.as_ref().filter(|_| in_force.callers.need_signatures());
        let presented = Presented {
            peer: &exchange.peer,
            method: method.as_str(),
            target: &target,
            headers: &headers,
            body: signed.map(|body| Sha256::digest(&body.bytes).into()),
            // One moment for the whole decision.
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
        // Without the body a signature proves nothing.
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
