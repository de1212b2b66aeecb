//! `policy suggest`: derives the least permissive policy that allows the recorded calls.
//!
//! The result is a whole `policy.yaml` to read before it is used. What cannot be known from records, such as the
//! digest of a token, is left to fill in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::records::{Records, calls};
use crate::audit::ParsedRecord;
use crate::cli::{exit, output::Format};
use crate::config;
use crate::operation::{CREATE, DELETE, Segment, VIEW};
use crate::policy::{Effect, Key, Scope, spell_moment};

#[derive(Debug, clap::Args)]
pub(super) struct Suggest {
    #[command(flatten)]
    audit: Records,
    /// The proxy's configuration, for the names of projects; without it rules name ids.
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: Option<PathBuf>,
    /// text: the policy, with the identity policy in comments. json: the two as `policy` and `identity_policy`.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What the records tell.
#[derive(Default)]
struct Calls {
    allowed: BTreeMap<Kind, Group>,
    denied: BTreeMap<Kind, Group>,
    /// For each caller, the proofs it was identified by, as the policy writes them.
    proofs: BTreeMap<String, BTreeSet<String>>,
    /// Who created which job of which project.
    created: BTreeMap<(String, String), String>,
}

/// What one rule is about.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    caller: String,
    action: String,
    project_id: String,
}

/// All calls of a kind.
#[derive(Default)]
struct Group {
    calls: u64,
    last: DateTime<Utc>,
    jobs: BTreeSet<String>,
    peers: BTreeSet<String>,
    /// How many of the calls were about a job with the caller's name on it.
    named: u64,
    /// How many were about one that the caller had created, or that has its name on it.
    own: u64,
    inputs: Buckets,
    outputs: Buckets,
}

/// Which buckets were read or written, where all calls tell that.
#[derive(Default)]
struct Buckets {
    seen: BTreeSet<String>,
    calls: u64,
}

/// The policy to suggest. Displays as `policy.yaml`.
struct Suggestion<'c> {
    calls: &'c Calls,
    projects: &'c [Scope],
}

impl Suggest {
    /// Prints the policy: exit code 78 where the configuration is not valid.
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<ExitCode> {
        let projects = match self.config.as_deref().map(config::projects).transpose() {
            Ok(projects) => projects.unwrap_or_default(),
            Err(report) => {
                write!(err, "{report}")?;
                return Ok(ExitCode::from(exit::CONFIG));
            }
        };
        let mut calls = Calls::default();
        self.audit.each_decision(err, |seen| calls.add(seen))?;
        if calls.allowed.is_empty() {
            bail!("{} holds no call that was allowed", self.audit.names());
        }
        let policy = Suggestion { calls: &calls, projects: &projects };
        match self.format {
            Format::Text => write!(out, "{policy}")?,
            Format::Json => {
                let both =
                    json!({ "policy": policy.to_string(), "identity_policy": calls.identity_policy() });
                writeln!(out, "{}", serde_json::to_string_pretty(&both)?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Calls {
    fn add(&mut self, seen: ParsedRecord) {
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

    /// What the key behind the proxy needs, in the language of Huawei's IAM. It cannot be less: these actions have
    /// neither a resource nor a condition there.
    fn identity_policy(&self) -> Value {
        let mut actions: BTreeSet<&str> = self.allowed.keys().map(|kind| kind.action.as_str()).collect();
        // What a rule asks of a job that is there is looked up.
        let looks_up =
            |(kind, group): (&Kind, &Group)| kind.action == DELETE && owned(group, false).is_some();
        actions.extend(self.allowed.iter().any(looks_up).then_some(VIEW));
        json!({
            "Version": "5.0",
            "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": ["*"] }],
        })
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

impl fmt::Display for Suggestion<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.calls.allowed.values().map(|group| group.calls).sum();
        writeln!(
            f,
            "# Suggested from {} that were allowed. It allows what was seen, and as little else",
            calls(count)
        )?;
        writeln!(f, "# as can be said: read it before you use it.\nversion: 1\n\ncallers:")?;
        for (caller, proofs) in &self.calls.proofs {
            writeln!(f, "  {}:\n    identify:", yaml(caller))?;
            proofs.iter().try_for_each(|proof| writeln!(f, "      {proof}"))?;
        }
        writeln!(f, "\nrules:")?;
        for (number, (kind, group)) in (1..).zip(&self.calls.allowed) {
            self.rule(f, number, (kind, group))?;
        }
        if !self.calls.denied.is_empty() {
            writeln!(f, "# Seen, denied, and left out:")?;
        }
        for (kind, group) in &self.calls.denied {
            let (calls, last) = (calls(group.calls), spell_moment(group.last));
            let project = self.project(&kind.project_id);
            writeln!(
                f,
                "#   {calls} of {}, {} on {}, the last at {last}",
                printable(&kind.caller),
                printable(&kind.action),
                printable(project)
            )?;
        }
        writeln!(
            f,
            "\n# The identity policy that the key behind the proxy needs at Huawei Cloud (IAM 5.0):"
        )?;
        format!("{:#}", self.calls.identity_policy()).lines().try_for_each(|line| writeln!(f, "# {line}"))
    }
}

impl Suggestion<'_> {
    fn rule(&self, f: &mut fmt::Formatter<'_>, number: u64, (kind, group): (&Kind, &Group)) -> fmt::Result {
        let Group { last, jobs, peers, .. } = group;
        let (calls, last) = (calls(group.calls), spell_moment(*last));
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
        writeln!(f, "    projects: [{}]", yaml(self.project(&kind.project_id)))?;
        let patterns: Vec<String> = patterns.iter().map(|pattern| format!("\"{pattern}\"")).collect();
        writeln!(f, "    jobs: [{}]", patterns.join(", "))?;
        let owned = owned.map(|(condition, _)| condition.to_owned());
        let buckets = Some(group).filter(|_| creates).and_then(Group::buckets);
        let conditions: Vec<String> = owned.into_iter().chain(buckets).collect();
        if !conditions.is_empty() {
            writeln!(f, "    condition:\n{}", conditions.join("\n"))?;
        }
        writeln!(f)
    }

    fn project<'s>(&'s self, id: &'s str) -> &'s str {
        self.projects.iter().find(|project| *project.id == *id).map_or(id, |project| &project.name)
    }
}

/// The condition by which the jobs are the caller's own, where they all were, and what to say about it.
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
    /// The condition by which new jobs read and write where they did.
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

/// Patterns for the jobs, and what to say about them. A few are named one by one; many by what they start with.
fn patterns(jobs: &BTreeSet<String>) -> (Vec<String>, &'static str) {
    if jobs.len() <= MAX_LISTED {
        return (
            jobs.iter().cloned().collect(),
            ", each by its id: widen this, a job is seldom cancelled twice",
        );
    }
    let start =
        |job: &String| job.find(['-', '_']).and_then(|end| job.get(..=end)).map(|start| format!("{start}*"));
    match jobs.iter().map(start).collect::<Option<BTreeSet<String>>>() {
        Some(starts) if starts.len() <= MAX_LISTED => {
            (starts.into_iter().collect(), ", by what they start with")
        }
        Some(_) | None => (vec!["*".into()], ", with nothing in common"),
    }
}

/// The first few, and how many more.
fn some(texts: &BTreeSet<String>) -> String {
    let mut shown: Vec<String> = texts.iter().take(MAX_LISTED).map(|text| printable(text)).collect();
    if texts.len() > MAX_LISTED {
        shown.push(format!("{} more", texts.len() - MAX_LISTED));
    }
    shown.join(", ")
}

/// The text as a YAML scalar in flow style: as it is where that has one reading, else in quotes.
fn yaml(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let word = text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(plain);
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if word && !text.ends_with(':') && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let quoted = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if is_plain(c) => c.into(),
        c => format!("\\U{:08X}", u32::from(c)),
    });
    format!("\"{}\"", quoted.collect::<String>())
}

/// A number stays one, anything else cannot become YAML.
fn yaml_number(text: &str) -> String {
    text.parse::<u32>().map_or_else(|_| yaml(text), |number| number.to_string())
}

/// The text in a comment: it must neither end the line, which more than one character does, nor turn it round.
fn printable(text: &str) -> String {
    text.chars().map(|c| if is_plain(c) { c.into() } else { c.escape_unicode().to_string() }).collect()
}

fn is_plain(c: char) -> bool {
    c.is_ascii_graphic() || c == ' '
}

const STAMPED: &str =
    ", all created by it: needs `stamp_owner: true` in the project, or its name and `/` before `user_data`";
const NOT_NAMED: &str = ", not all with its name and `/` before `user_data`: with `stamp_owner: true` in the project they have it";
/// How many jobs, starts or addresses are named one by one.
const MAX_LISTED: usize = 10;

#[cfg(test)]
mod tests;
