//! The recorded calls, grouped as rules will be.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::yaml::{printable, yaml, yaml_number};
use crate::{
    audit::ParsedRecord,
    operation::{CREATE, Segment},
    policy::{Effect, Key},
};

/// The recorded calls.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) allowed: BTreeMap<Kind, Group>,
    pub(super) denied: BTreeMap<Kind, Group>,
    /// The credentials that identified each caller, as written in policies.
    pub(super) proofs: BTreeMap<String, BTreeSet<String>>,
    /// The creator of each job, by project and job.
    created: BTreeMap<(String, String), String>,
}

/// The calls that one rule covers.
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
    /// The number of calls on a job whose `user_data` names the caller.
    pub(super) named: u64,
    /// The number of calls on a job that the caller created, or whose `user_data` names it.
    pub(super) own: u64,
    pub(super) inputs: Buckets,
    pub(super) outputs: Buckets,
}

/// The buckets that were read or written, if all records have them.
#[derive(Default)]
pub(super) struct Buckets {
    pub(super) seen: BTreeSet<String>,
    pub(super) calls: u64,
}

impl Calls {
    pub(super) fn add(&mut self, seen: ParsedRecord) {
        // The permission was not used.
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

/// Returns the credential, as far as a record shows it.
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
    /// Adds the buckets of a call, from whole paths or from buckets alone.
    fn add(&mut self, told: &[(Key, Vec<String>)], keys: [Key; 2]) {
        let Some((_, values)) = told.iter().find(|(key, _)| keys.contains(key)) else { return };
        self.calls += 1;
        let buckets = values.iter().filter_map(|value| value.split('/').next());
        // It would be a pattern, which matches other buckets.
        self.seen.extend(buckets.filter(|bucket| !bucket.contains(['*', '?', '$'])).map(String::from));
    }
}
