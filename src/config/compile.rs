//! The policy, compiled from the rules that were written.

use super::policy::ParsedPolicy;
use super::source_file::SourceFile;
use crate::identity::CallerId;
use crate::policy::{Policy, Scope};
use sha2::{Digest, Sha256};

/// The policy, of the rules that could be read.
pub(super) fn compile(source: &SourceFile, parsed: &ParsedPolicy, projects: &[Scope]) -> Policy {
    let file = source.name();
    let rules = parsed.rules.iter().filter_map(|rule| rule.value.resolve(rule.place, &file));
    let callers: Vec<CallerId> = parsed.callers.iter().map(|caller| caller.id.value.clone()).collect();
    let mut hash = hex::encode(Sha256::digest(source.text()));
    hash.truncate(HASH_LENGTH);
    let mode = parsed.mode.as_ref().map(|mode| mode.value).unwrap_or_default();
    Policy::new(rules.collect(), &callers, projects, &hash).in_mode(mode)
}

/// How much of the policy's SHA-256 names it, in hexadecimal digits.
const HASH_LENGTH: usize = 16;
