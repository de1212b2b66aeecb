//! The calls that records tell of, grouped as rules are.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::yaml::{printable, yaml, yaml_number};
use crate::{
    audit::ParsedRecord,
    operation::{CREATE, Segment},
    policy::{Effect, Key},
};

/// What the records tell.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) allowed: BTreeMap<Kind, Group>,
    pub(super) denied: BTreeMap<Kind, Group>,
    /// For each caller, the proofs it was identified by, as the policy writes them.
    pub(super) proofs: BTreeMap<String, BTreeSet<String>>,
    /// Who created which job of which project.
    created: BTreeMap<(String, String), String>,
}

/// What one rule is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) caller: String,
    pub(super) action: String,
    pub(super) project_id: String,
}

/// All calls of a kind.
#[derive(Default)]
pub(super) struct Group {
    pub(super) calls: u64,
    pub(super) last: DateTime<Utc>,
    pub(super) jobs: BTreeSet<String>,
    pub(super) peers: BTreeSet<String>,
    /// How many of the calls were about a job with the caller's name on it.
    pub(super) named: u64,
    /// How many were about one that the caller had created, or that has its name on it.
    pub(super) own: u64,
    pub(super) inputs: Buckets,
    pub(super) outputs: Buckets,
}

/// Which buckets were read or written, where all calls tell that.
#[derive(Default)]
pub(super) struct Buckets {
    pub(super) seen: BTreeSet<String>,
    pub(super) calls: u64,
}

impl Calls {
    pub(super) fn add(&mut self, seen: ParsedRecord) {
        // No use was made of what allowed it.
        if seen.effect == Effect::Allow && seen.refused_by_cloud {
            return;
        }
        let caller = seen.caller.to_string();
        let creates = seen.action == CREATE;
        let of_project = |job: &Segment| (seen.project_id.clone(), job.to_string());
        let own = seen.job.as_ref().is_some_and(|job| self.created.get(&of_project(job)) == Some(&caller));
        if let (true, Some(job)) = (creates, &seen.job) {
            self.created.insert(of_project(job), caller.clone());
        }
        let name = format!("{caller}/");
        let named = seen.user_data.as_ref().is_some_and(|word| word.starts_with(&name));
        let groups = match seen.effect {
            Effect::Allow => {
                self.proofs.entry(caller.clone()).or_default().extend(proof(&seen));
                &mut self.allowed
            }
            Effect::Deny => &mut self.denied,
        };
        let about = seen.about().map(String::from);
        let kind = Kind { caller, action: seen.action, project_id: seen.project_id };
        let group = groups.entry(kind).or_default();
        group.calls += 1;
        group.last = group.last.max(seen.at);
        group.named += u64::from(named);
        group.own += u64::from(named || own);
        group.jobs.extend(about);
        group.inputs.add(&seen.told, [Key::Input, Key::InputBucket]);
        group.outputs.add(&seen.told, [Key::Output, Key::OutputBucket]);
        group.peers.insert(seen.peer);
    }
}

/// The proof as far as a record tells it.
fn proof(seen: &ParsedRecord) -> Option<String> {
    let ParsedRecord { caller, listener, peer, .. } = seen;
    let kind = seen.identified_by.as_deref()?;
    Some(match (kind, listener, peer.strip_prefix("uid:")) {
        ("listener", Some(listener), _) => format!("- listener: {}", yaml(listener)),
        ("unix", _, Some(uid)) => format!("- unix: {{ uid: {} }}", yaml_number(uid)),
        ("bearer", ..) => {
            format!(
                "- bearer: {{ sha256_file: {} }}   # the file you have",
                yaml(&format!("{caller}.sha256"))
            )
        }
        _ => format!("# also by `{}`: copy that proof from the policy in force", printable(kind)),
    })
}

impl Buckets {
    /// What a call tells: by whole paths, or by their buckets.
    fn add(&mut self, told: &[(Key, Vec<String>)], keys: [Key; 2]) {
        let Some((_, values)) = told.iter().find(|(key, _)| keys.contains(key)) else { return };
        self.calls += 1;
        let buckets = values.iter().filter_map(|value| value.split('/').next());
        // A pattern would match others.
        self.seen.extend(buckets.filter(|bucket| !bucket.contains(['*', '?', '$'])).map(String::from));
    }
}
