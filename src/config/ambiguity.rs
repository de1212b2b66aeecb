//! Rejects callers that cannot be told apart: no two may have the same credentials, nor may one's imply another's.

use super::policy::ParsedPolicy;
use super::report::Position;
use super::source_file::{Located, SourceFile};
use crate::identity::{CallerId, Claim, Proof};
use std::collections::HashMap;

/// The callers that make each claim, with the location.
type Claimed<'w> = HashMap<Claim, Vec<Claimant<'w>>>;

#[derive(Clone, Copy)]
struct Claimant<'w> {
    caller: &'w CallerId,
    proof: &'w Proof,
    place: Position,
}

/// Reports every credential that does not identify one caller, at the later of the two places.
pub(super) fn proofs(source: &SourceFile, policy: &ParsedPolicy) {
    let (mut claims, mut implied, mut secrets) = (Claimed::new(), Claimed::new(), Claimed::new());
    for caller in &policy.callers {
        for Located { value: proof, place } in &caller.identify {
            let this = Claimant { caller: &caller.id.value, proof, place: *place };
            let claim = proof.claim();
            let broader = || proof.implied().iter().find_map(|claim| this.other_claimant_of(&claims, claim));
            let narrower = || this.other_claimant_of(&implied, &claim);
            let secret = || proof.secret().and_then(|secret| this.other_claimant_of(&secrets, &secret));
            let told = this.duplicate_of(&claims, &claim).map(|other| (other, SAME));
            let told = told.or_else(|| Some((broader().or_else(narrower)?, BOTH)));
            if let Some((other, (what, hint))) = told.or_else(|| Some((secret()?, SECRET))) {
                let message = format!("{what} `{}`, at {}", other.caller, source.format(other.place));
                source.error(*place, message, hint);
            }
            note(&mut claims, Some(claim), this);
            note(&mut implied, proof.implied(), this);
            note(&mut secrets, proof.secret(), this);
        }
    }
}

impl<'w> Claimant<'w> {
    /// Returns another caller that makes this claim.
    fn other_claimant_of(&self, all: &Claimed<'w>, claim: &Claim) -> Option<Self> {
        all.get(claim)?.iter().find(|other| other.caller != self.caller).copied()
    }

    /// Returns an earlier claimant, possibly the same caller. One account may be named with the keys of several files.
    fn duplicate_of(&self, all: &Claimed<'w>, claim: &Claim) -> Option<Self> {
        let may_differ = matches!(self.proof, Proof::ServiceAccount(_));
        let alike = |other: &&Self| !may_differ || other.caller != self.caller || other.proof == self.proof;
        all.get(claim)?.iter().find(alike).copied()
    }
}

fn note<'w>(all: &mut Claimed<'w>, claims: impl IntoIterator<Item = Claim>, who: Claimant<'w>) {
    for claim in claims {
        all.entry(claim).or_default().push(who);
    }
}

const SAME: (&str, &str) = ("this also identifies", "a proof must identify one caller: remove one");
const BOTH: (&str, &str) = (
    "the same process is also identified as",
    "a request that proves two callers is refused: use distinct proofs",
);
const SECRET: (&str, &str) = (
    "this secret key also identifies",
    "their signatures would be interchangeable: generate a secret key for each",
);
