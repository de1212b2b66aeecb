//! `policy replay`: finds recorded calls that another policy would decide differently.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::records::Records;
use crate::audit::ParsedRecord;
use crate::cli::{
    exit,
    output::{Format, counted},
};
use crate::config::{self, StandalonePolicy};
use crate::policy::{Call, DecisionReport, Effect, Mode, Policy, Scope, UNDETERMINED, spell_moment};

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    audit: Records,
    /// The policy to try
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The proxy's configuration, for the names of projects [default: proxy.yaml beside the policy]
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: Option<PathBuf>,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// The replayed calls.
#[derive(Debug, Default, Serialize)]
struct Replayed {
    calls: u64,
    unchanged: u64,
    now_denied: u64,
    now_allowed: u64,
    /// The number of calls that could not be decided from their records.
    undetermined: u64,
    changes: Vec<Change>,
}

/// Calls of the same kind that would be decided differently for the same reason.
#[derive(Debug, Serialize)]
struct Change {
    from: &'static str,
    to: &'static str,
    caller: String,
    action: String,
    project: String,
    calls: u64,
    last: String,
    /// The job of the last of them. `None` for a create.
    job: Option<String>,
    /// The recorded rule.
    rule: Option<String>,
    /// The recorded mode.
    mode: Option<String>,
    now: DecisionReport,
}

/// What calls must have in common to be reported together.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// Denials come first, then undetermined calls.
    order: u8,
    caller: String,
    action: String,
    project: String,
    rule: Option<String>,
}

impl Replay {
    /// Replays the files. Exits with 1 if an allowed call would be denied, with 78 if the policy is invalid.
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<ExitCode> {
        let mut ids = BTreeSet::new();
        // Lines that are not records are reported once.
        let mut told = Vec::new();
        let read = self.audit.each_decision(&mut told, |seen| {
            ids.insert(seen.project_id);
        });
        if let Err(error) = read {
            err.write_all(&told)?;
            return Err(error);
        }
        // A project without a name is known by its id.
        let by_id =
            || ids.iter().map(|id| Scope { name: id.as_str().into(), id: id.as_str().into() }).collect();
        let alone = match config::policy_alone(&self.policy, self.config.as_deref(), by_id) {
            Ok(alone) => alone,
            Err(report) => {
                write!(err, "{report}")?;
                return Ok(ExitCode::from(exit::CONFIG));
            }
        };
        if !alone.named {
            writeln!(err, "no proxy.yaml beside the policy and no --config: projects match by id only")?;
        }
        let (mut result, mut changes) = (Replayed::default(), BTreeMap::new());
        self.audit.each_decision(err, |seen| result.add(seen, &alone, &mut changes))?;
        result.changes = changes.into_values().collect();
        self.format.write(&result, out)?;
        Ok(if result.now_denied == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Replayed {
    fn add(&mut self, seen: ParsedRecord, alone: &StandalonePolicy, changes: &mut BTreeMap<Kind, Change>) {
        self.calls += 1;
        let project = name_of(&seen, &alone.projects).to_owned();
        let (applied, now) = decide(&alone.policy, &seen, &project);
        let (count, order) = match (seen.effect, applied) {
            (Effect::Allow, Some(Effect::Deny)) => (&mut self.now_denied, 0),
            (Effect::Allow, None) => (&mut self.undetermined, 1),
            (Effect::Deny, None) => (&mut self.undetermined, 2),
            (Effect::Deny, Some(Effect::Allow)) => (&mut self.now_allowed, 3),
            (Effect::Allow, Some(Effect::Allow)) | (Effect::Deny, Some(Effect::Deny)) => {
                self.unchanged += 1;
                return;
            }
        };
        *count += 1;
        let kind = Kind {
            order,
            caller: seen.caller.to_string(),
            action: seen.action.clone(),
            project: project.clone(),
            rule: now.rule.clone(),
        };
        let about = seen.about().map(String::from);
        let calls = changes.get(&kind).map_or(0, |change| change.calls) + 1;
        let change = Change {
            from: seen.effect.as_str(),
            to: applied.map_or(UNDETERMINED, Effect::as_str),
            caller: seen.caller.to_string(),
            action: seen.action,
            project,
            calls,
            last: spell_moment(seen.at),
            job: about,
            rule: seen.rule,
            mode: seen.mode,
            now,
        };
        changes.insert(kind, change);
    }
}

/// Decides a recorded call by a policy.
pub(super) fn ask(policy: &Policy, seen: &ParsedRecord, projects: &[Scope]) -> DecisionReport {
    decide(policy, seen, name_of(seen, projects)).1
}

/// Returns the name of the project, or else its id.
fn name_of<'a>(seen: &'a ParsedRecord, projects: &'a [Scope]) -> &'a str {
    let project = projects.iter().find(|project| *project.id == *seen.project_id);
    project.map_or(seen.project_id.as_str(), |project| &project.name)
}

fn decide(policy: &Policy, seen: &ParsedRecord, project: &str) -> (Option<Effect>, DecisionReport) {
    let explanation = policy.explain(&Call {
        caller: &seen.caller,
        action: &seen.action,
        project,
        job: seen.about(),
        facts: &seen.facts,
        at: seen.at,
        source_ip: seen.source_ip(),
        listener: seen.listener.as_deref(),
        identified_by: seen.identified_by.as_deref(),
    });
    (explanation.outcome.applied(), DecisionReport::new(explanation))
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let Change { from, to, caller, action, project, last, job, rule, mode, now, .. } = change;
            writeln!(
                f,
                "{from} -> {to}: {} of {caller}, {action} on {project}",
                counted(change.calls, "call")
            )?;
            let rule = rule.as_ref().map_or("no rule".into(), |rule| format!("rule `{rule}`"));
            let mode = mode.as_ref().filter(|mode| *mode != Mode::Enforce.as_str());
            let mode = mode.map(|mode| format!(", as `{mode}`")).unwrap_or_default();
            let job = job.as_ref().map(|job| format!("job {job} ")).unwrap_or_default();
            writeln!(f, "  the last: {job}at {last}, recorded with {rule}{mode}; it would be")?;
            for line in now.to_string().lines() {
                writeln!(f, "  {line}")?;
            }
            writeln!(f)?;
        }
        let Self { unchanged, now_denied, now_allowed, undetermined, .. } = self;
        write!(
            f,
            "{}: {now_denied} would now be denied, {now_allowed} would now be allowed, \
             {unchanged} would not change",
            counted(self.calls, "call")
        )?;
        match undetermined {
            0 => writeln!(f),
            _ => writeln!(f, ", {undetermined} depend on facts that were not recorded"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{Folder, audit},
        *,
    };

    const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
  oncall: { identify: [ { bearer: { sha256_file: /nowhere } } ] }
  owner: { identify: [ { bearer: { sha256_file: /nowhere } } ] }
rules:
  - { id: editor, effect: allow, callers: [editor-api], actions: ['*'], projects: [media-prod], jobs: ['1*'] }
  - id: owner
    effect: allow
    callers: [owner]
    actions: ['*']
    projects: [media-prod]
    jobs: ['*']
    condition: { StringMatch: { mpc:UserData: ['${proxy:Caller}/*'] } }
  - id: oncall
    effect: allow
    callers: [oncall]
    actions: ['*']
    projects: [media-prod]
    jobs: ['*']
    expires: 2027-01-15T00:04:00Z
    condition: { IpAddress: { g:SourceIp: 10.2.0.0/16 }, StringEquals: { proxy:Listener: app } }
";

    const CALLS: [&str; 8] = [
        "allow editor-api listener 127.0.0.1 0a1b 100211",
        "allow editor-api listener 127.0.0.1 0a1b 200",
        "allow editor-api listener 127.0.0.1 0a1b 201 would_deny",
        "deny oncall bearer ::ffff:10.2.3.4 0a1b 5",
        "deny oncall bearer 10.2.3.4 0a1b 6",
        "deny oncall unix uid:7 0a1b 6",
        "allow leaver listener 127.0.0.1 0a1b 100211",
        "allow editor-api listener 127.0.0.1 ffff 100211",
    ];

    fn replay(audit: &str, named: bool, format: Format) -> anyhow::Result<(ExitCode, String, String)> {
        let files = [
            ("audit.jsonl", audit),
            ("policy.yaml", POLICY),
            ("proxy.yaml", "projects: [ { name: media-prod, id: 0a1b } ]"),
        ];
        let folder = Folder::with(if named { &files } else { &files[..2] });
        let audit = Records::of(vec![folder.path("audit.jsonl")]);
        let replay = Replay { audit, policy: folder.path("policy.yaml"), config: None, format };
        folder.printed(|out, err| replay.run(out, err))
    }

    #[test]
    fn calls_that_would_be_decided_otherwise_are_told_denials_first() {
        let (code, out, err) = replay(&audit(&CALLS), true, Format::Text).unwrap();
        assert_eq!((code, err.as_str()), (ExitCode::FAILURE, ""));
        let expected = "allow -> deny: 1 call of editor-api, mpc:editingTask:delete on ffff
  the last: job 100211 at 2027-01-15T00:07:00Z, recorded with rule `old`; it would be
  deny: no rule allows it
  nearest miss: rule `editor` at policy.yaml:7
    its `projects` are media-prod; the call has ffff

allow -> deny: 2 calls of editor-api, mpc:editingTask:delete on media-prod
  the last: job 201 at 2027-01-15T00:02:00Z, recorded with rule `old`, as `would_deny`; it would be
  deny: no rule allows it
  nearest miss: rule `editor` at policy.yaml:7
    its `jobs` are 1*; the call has 201

allow -> deny: 1 call of leaver, mpc:editingTask:delete on media-prod
  the last: job 100211 at 2027-01-15T00:06:00Z, recorded with rule `old`; it would be
  deny: no rule allows it
  nearest miss: rule `editor` at policy.yaml:7
    its `callers` are editor-api; the call has leaver

deny -> allow: 1 call of oncall, mpc:editingTask:delete on media-prod
  the last: job 5 at 2027-01-15T00:03:00Z, recorded with rule `old`; it would be
  allow: rule `oncall` at policy.yaml:15

8 calls: 4 would now be denied, 1 would now be allowed, 3 would not change
";
        assert_eq!(out, expected);
    }

    #[test]
    fn the_result_is_json_for_programs_and_fails_only_where_an_allowed_call_would_be_denied() {
        let json = |calls: &[&str]| -> (ExitCode, serde_json::Value) {
            let (code, out, _) = replay(&audit(calls), true, Format::Json).unwrap();
            (code, serde_json::from_str(&out).unwrap())
        };
        let (code, all) = json(&CALLS);
        assert_eq!((code, all["now_denied"].as_u64()), (ExitCode::FAILURE, Some(4)));
        assert_eq!(all["changes"][0]["now"]["nearest_miss"]["field"], "projects");
        let (code, more) = json(&CALLS[3..6]);
        assert_eq!((code, more["now_allowed"].as_u64()), (ExitCode::SUCCESS, Some(2)));
        let (code, same) = json(&CALLS[..1]);
        assert_eq!((code, same["unchanged"].as_u64()), (ExitCode::SUCCESS, Some(1)));
    }

    #[test]
    fn calls_are_asked_again_with_the_facts_that_were_recorded_and_without_them_nothing_is_said() {
        let calls = [
            "allow owner bearer 10.2.3.4 0a1b +7 mpc:UserData=owner/7",
            "allow owner bearer 10.2.3.4 0a1b 7 mpc:UserData=owner/7",
            "allow owner bearer 10.2.3.4 0a1b 8 mpc:UserData=oncall/8",
            "allow owner bearer 10.2.3.4 0a1b 9",
            "deny owner bearer 10.2.3.4 0a1b 9",
        ];
        let (code, out, _) = replay(&audit(&calls), true, Format::Text).unwrap();
        let expected = "allow -> deny: 1 call of owner, mpc:editingTask:delete on media-prod
  the last: job 8 at 2027-01-15T00:02:00Z, recorded with rule `old`; it would be
  deny: no rule allows it
  nearest miss: rule `owner` at policy.yaml:8
    its `StringMatch` wants `mpc:UserData` ${proxy:Caller}/*; the job has oncall/8

allow -> undetermined: 1 call of owner, mpc:editingTask:delete on media-prod
  the last: job 9 at 2027-01-15T00:03:00Z, recorded with rule `old`; it would be
  undetermined: depends on mpc:UserData
  may allow: rule `owner` at policy.yaml:8, by mpc:UserData

deny -> undetermined: 1 call of owner, mpc:editingTask:delete on media-prod
  the last: job 9 at 2027-01-15T00:04:00Z, recorded with rule `old`; it would be
  undetermined: depends on mpc:UserData
  may allow: rule `owner` at policy.yaml:8, by mpc:UserData

5 calls: 1 would now be denied, 0 would now be allowed, 2 would not change, 2 depend on facts that were not recorded
";
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, expected));
        let (code, _, _) = replay(&audit(&calls[3..]), true, Format::Text).unwrap();
        assert_eq!(code, ExitCode::SUCCESS);
    }

    #[test]
    fn without_names_projects_go_by_their_ids_and_that_is_told() {
        let (code, _, err) = replay(&audit(&CALLS[..1]), false, Format::Text).unwrap();
        assert_eq!(code, ExitCode::FAILURE);
        assert!(err.contains("projects match by id only"), "{err}");
    }

    #[test]
    fn a_line_that_is_no_record_is_told_and_left_out() {
        let cut = audit(&CALLS[..1]) + "{\"event\":\"request\",\"time";
        let (code, out, err) = replay(&cut, true, Format::Text).unwrap();
        let expected = "1 call: 0 would now be denied, 0 would now be allowed, 1 would not change\n";
        assert_eq!((code, out.as_str()), (ExitCode::SUCCESS, expected));
        assert!(err.starts_with("audit.jsonl:2: not an audit record: "), "{err}");
        assert!(replay("", true, Format::Text).unwrap_err().to_string().ends_with("has no policy decisions"));
    }
}
