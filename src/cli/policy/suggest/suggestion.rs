//! The suggested policy, and the identity policy that the proxy's key needs for it.

use std::{collections::BTreeSet, fmt};

use serde_json::{Value, json};

use super::{
    calls::{Calls, Group, Kind},
    yaml::{printable, yaml},
};
use crate::{
    cli::output::counted,
    operation::{CREATE, DELETE, VIEW},
    policy::{Scope, spell_moment},
};

/// The suggested policy. Displays as `policy.yaml`.
pub(super) struct Suggestion<'c> {
    pub(super) calls: &'c Calls,
    pub(super) projects: &'c [Scope],
}

/// One of its rules.
struct SuggestedRule<'c> {
    number: u64,
    kind: &'c Kind,
    group: &'c Group,
    project: &'c str,
}

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.calls.allowed.values().map(|group| group.calls).sum();
        writeln!(
            f,
            "# Suggested from {} that were allowed. It allows these, and as little else",
            counted(count, "call")
        )?;
        writeln!(f, "# as possible: review it before use.\nversion: 1\n\ncallers:")?;
        for (caller, proofs) in &self.calls.proofs {
            writeln!(f, "  {}:\n    identify:", yaml(caller))?;
            proofs.iter().try_for_each(|proof| writeln!(f, "      {proof}"))?;
        }
        writeln!(f, "\nrules:")?;
        for (number, (kind, group)) in (1..).zip(&self.calls.allowed) {
            let project = self.project(&kind.project_id);
            SuggestedRule { number, kind, group, project }.fmt(f)?;
        }
        if !self.calls.denied.is_empty() {
            writeln!(f, "# Denied, so left out:")?;
        }
        for (kind, group) in &self.calls.denied {
            let (calls, last) = (counted(group.calls, "call"), spell_moment(group.last));
            let project = self.project(&kind.project_id);
            writeln!(
                f,
                "#   {calls} of {}, {} on {}, the last at {last}",
                printable(&kind.caller),
                printable(&kind.action),
                printable(project)
            )?;
        }
        writeln!(f, "\n# The identity policy that the proxy's key needs at Huawei Cloud (IAM 5.0):")?;
        format!("{:#}", identity_policy(self.calls)).lines().try_for_each(|line| writeln!(f, "# {line}"))
    }
}

impl fmt::Display for SuggestedRule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, kind, group, project } = self;
        let Group { last, jobs, peers, .. } = group;
        let (calls, last) = (counted(group.calls, "call"), spell_moment(*last));
        writeln!(f, "  # {calls}, the last at {last}, from {}", some(peers))?;
        let creates = kind.action == CREATE;
        let owned = owned(group, creates);
        let (patterns, remark) = match (&owned, creates) {
            (Some((_, remark)), _) => (vec!["*".into()], *remark),
            (None, true) => (vec!["*".into()], NOT_NAMED),
            (None, false) => patterns(jobs),
        };
        match creates {
            true => writeln!(f, "  # new jobs: {}{remark}", group.calls)?,
            false => writeln!(f, "  # jobs: {}{remark}", jobs.len())?,
        }
        writeln!(f, "  - id: seen-{number}\n    effect: allow\n    callers: [{}]", yaml(&kind.caller))?;
        writeln!(f, "    actions: [{}]", yaml(&kind.action))?;
        writeln!(f, "    projects: [{}]", yaml(project))?;
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
        writeln!(f, "    jobs: [{}]", patterns.join(", "))?;
        let owned = owned.map(|(condition, _)| condition.to_owned());
        let buckets = Some(*group).filter(|_| creates).and_then(Group::buckets);
        let conditions: Vec<String> = owned.into_iter().chain(buckets).collect();
        if !conditions.is_empty() {
            writeln!(f, "    condition:\n{}", conditions.join("\n"))?;
        }
        writeln!(f)
    }
}

impl Suggestion<'_> {
    fn project<'s>(&'s self, id: &'s str) -> &'s str {
        self.projects.iter().find(|project| *project.id == *id).map_or(id, |project| &project.name)
    }
}

/// Returns the identity policy of the proxy's key for Huawei's IAM. It cannot be narrower, because these actions have
/// neither a resource nor a condition there.
pub(super) fn identity_policy(calls: &Calls) -> Value {
    let mut actions: BTreeSet<&str> = calls.allowed.keys().map(|kind| kind.action.as_str()).collect();
    // A rule that depends on facts of an existing job needs lookups.
    let looks_up = |(kind, group): (&Kind, &Group)| kind.action == DELETE && owned(group, false).is_some();
    actions.extend(calls.allowed.iter().any(looks_up).then_some(VIEW));
    json!({
        "Version": "5.0",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": ["*"] }],
    })
}

/// Returns a condition for the caller's own jobs, with a comment, if all jobs were its own.
fn owned(group: &Group, creates: bool) -> Option<(&'static str, &'static str)> {
    const OWNED: &str = "      StringMatch: { mpc:UserData: [\"${proxy:Caller}/*\"] }";
    match group {
        Group { named, calls, .. } if named == calls => {
            Some((OWNED, ", all with its name and `/` before `user_data`"))
        }
        Group { own, calls, .. } if own == calls && !creates => Some((OWNED, STAMPED)),
        _ => None,
    }
}

impl Group {
    /// Returns a condition for the buckets that creates read and wrote.
    fn buckets(&self) -> Option<String> {
        let all = [("mpc:Input", &self.inputs), ("mpc:Output", &self.outputs)];
        let known = all.iter().filter(|(_, buckets)| {
            buckets.calls == self.calls && (1..=MAX_LISTED).contains(&buckets.seen.len())
        });
        let values = known.map(|(key, buckets)| {
            let globs: Vec<String> = buckets.seen.iter().map(|bucket| yaml(&format!("{bucket}/*"))).collect();
            format!("{key}: [{}]", globs.join(", "))
        });
        let values: Vec<String> = values.collect();
        (!values.is_empty())
            .then(|| format!("      \"ForAllValues:StringMatch\": {{ {} }}", values.join(", ")))
    }
}

/// Returns patterns for the jobs, with a comment. A few are listed; many are summarised by their prefixes.
pub(super) fn patterns(jobs: &BTreeSet<String>) -> (Vec<String>, &'static str) {
    if jobs.len() <= MAX_LISTED {
        return (
            jobs.iter().cloned().collect(),
            ", each by id: widen this, since a job is seldom cancelled twice",
        );
    }
    let start =
        |job: &String| job.find(['-', '_']).and_then(|end| job.get(..=end)).map(|start| format!("{start}*"));
    match jobs.iter().map(start).collect::<Option<BTreeSet<String>>>() {
        Some(starts) if starts.len() <= MAX_LISTED => (starts.into_iter().collect(), ", by prefix"),
        Some(_) | None => (vec!["*".into()], ", with nothing in common"),
    }
}

/// Formats the first few, and how many more there are.
fn some(texts: &BTreeSet<String>) -> String {
    let mut shown: Vec<String> = texts.iter().take(MAX_LISTED).map(|text| printable(text)).collect();
    if texts.len() > MAX_LISTED {
        shown.push(format!("{} more", texts.len() - MAX_LISTED));
    }
    shown.join(", ")
}

const STAMPED: &str =
    ", all created by it: needs `stamp_owner: true` in the project, or its name and `/` before `user_data`";
const NOT_NAMED: &str = ", not all with its name and `/` before `user_data`: with `stamp_owner: true` in the project they have it";
/// The maximum number of jobs, prefixes or addresses that are listed.
const MAX_LISTED: usize = 10;
