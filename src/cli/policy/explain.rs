//! `policy explain`: what is decided for one call, and why?

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use chrono::{DateTime, Utc};

use super::{Format, answer::Answer};
use crate::cli::exit;
use crate::clock;
use crate::config::{self, Project};
use crate::identity::CallerId;
use crate::operation::{ACTIONS, Segment};
use crate::policy::{Call, Facts, Policy, Scope, parse_moment};

#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The proxy's configuration, which names the policy.
    #[arg(long, value_name = "FILE", env = "MPC_AUTH_PROXY_CONFIG")]
    config: PathBuf,
    /// The caller, by its name in the policy.
    #[arg(long)]
    caller: String,
    /// The project, by its configured name or its id.
    #[arg(long)]
    project: String,
    /// The job id.
    #[arg(long)]
    job: String,
    /// The IAM action.
    #[arg(long, default_value = "mpc:editingTask:delete")]
    action: String,
    /// When: a date, or a date and time [default: now].
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    at: Option<DateTime<Utc>>,
    /// The address it comes from [default: none, as on a Unix socket].
    #[arg(long, value_name = "IP")]
    source_ip: Option<IpAddr>,
    /// The listener it comes in on.
    #[arg(long)]
    listener: Option<String>,
    /// The kind of proof that identified the caller.
    #[arg(long, value_name = "PROOF")]
    identified_by: Option<String>,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Explain {
    pub(super) fn run(&self, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<ExitCode> {
        let settings = match config::load(&self.config) {
            Ok(loaded) => loaded.settings,
            Err(report) => {
                writeln!(err, "{report}")?;
                return Ok(ExitCode::from(exit::CONFIG));
            }
        };
        let scope = |project: &Arc<Project>| Scope { name: project.name.clone(), id: project.id.clone() };
        let projects: Vec<Scope> = settings.projects.iter().map(scope).collect();
        let answer = self.answer(&settings.policy, settings.callers.ids(), &projects)?;
        self.write(&answer, out).context("cannot write the answer")?;
        Ok(ExitCode::SUCCESS)
    }

    /// Names that nothing has are errors here: the policy would only say `deny`, which does not help.
    fn answer(&self, policy: &Policy, callers: &[CallerId], projects: &[Scope]) -> anyhow::Result<Answer> {
        let caller = callers.iter().find(|caller| caller.as_str() == self.caller);
        let caller =
            caller.ok_or_else(|| unknown("caller", &self.caller, callers.iter().map(CallerId::as_str)))?;
        let project = projects.iter().find(|p| [&*p.name, &*p.id].contains(&self.project.as_str()));
        let names = projects.iter().map(|project| &*project.name);
        let project = project.ok_or_else(|| unknown("project", &self.project, names))?;
        let actions = ACTIONS.into_iter();
        if !actions.clone().any(|action| action == self.action) {
            return Err(unknown("action", &self.action, actions));
        }
        Segment::parse(&self.job).context("a job id is 1 to 64 characters of A-Z a-z 0-9 _ -")?;
        let call = Call {
            caller,
            action: &self.action,
            project: &project.name,
            job: Some(&self.job),
            facts: Facts::none_known(),
            at: self.at.unwrap_or_else(clock::now),
            source_ip: self.source_ip,
            listener: self.listener.as_deref(),
            identified_by: self.identified_by.as_deref(),
        };
        Ok(Answer::new(policy.explain(&call)))
    }

    fn write(&self, answer: &Answer, out: &mut impl Write) -> anyhow::Result<()> {
        match self.format {
            Format::Text => write!(out, "{answer}")?,
            Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(answer)?)?,
        }
        Ok(())
    }
}

fn unknown<'n>(kind: &str, name: &str, known: impl Iterator<Item = &'n str>) -> anyhow::Error {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(name, candidate);
    match known.min_by_key(distance).filter(|closest| distance(closest) <= 1 + name.len() / 4) {
        Some(closest) => anyhow!("there is no {kind} `{name}`; did you mean `{closest}`?"),
        None => anyhow!("there is no {kind} `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::policy::{Condition, Effect, Glob, Key, Location, Mode, Operator, Rule, Test};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        explain: Explain,
    }

    fn policy(callers: &[CallerId], projects: &[Scope]) -> Policy {
        let globs = |text: &str| text.split(',').map(|glob| Glob::parse(glob).unwrap()).collect();
        let rule = |id: &str, effect, line, [caller, job]: [&str; 2]| Rule {
            id: id.into(),
            effect,
            callers: globs(caller),
            actions: globs("mpc:editingTask:*"),
            projects: globs("media-prod"),
            jobs: globs(job),
            condition: Condition::default(),
            expires: None,
            mode: Mode::Enforce,
            location: Location { file: "policy.yaml".into(), line },
            reason: (effect == Effect::Deny).then(|| "ticket \"1411\"".into()),
        };
        let (operator, key) = (Operator::parse("IpAddress").unwrap(), Key::SourceIp);
        let office = Test::new(operator, key, &["10.2.0.0/16"]);
        let rules = vec![
            rule("contractor", Effect::Allow, 9, ["batch-cleaner", "tmp-*,old-*"]),
            rule("keep", Effect::Deny, 17, ["*", "keep-*"]),
            Rule {
                condition: Condition::new(vec![office.unwrap()]),
                expires: Some(parse_moment("2027-01-31").unwrap()),
                ..rule("office", Effect::Allow, 25, ["oncall", "*"])
            },
            Rule { mode: Mode::Observe, ..rule("wider", Effect::Allow, 33, ["intern", "obs-*"]) },
        ];
        Policy::new(rules, callers, projects, "0123abcd")
    }

    fn explain(config: &str, arguments: &str) -> Explain {
        let names = ["--caller", "--project", "--job", "--action", "--at", "--source-ip"];
        let pairs = names.into_iter().zip(arguments.split(' ')).flat_map(|(name, value)| [name, value]);
        let words = ["explain", "--config", config].into_iter().chain(pairs);
        Cli::try_parse_from(words).unwrap().explain
    }

    /// The answer to `--caller CALLER --project PROJECT --job JOB` and perhaps more.
    fn asked(format: Format, arguments: &str) -> Result<String, String> {
        let callers =
            ["batch-cleaner", "editor-api", "oncall", "intern"].map(|name| CallerId::parse(name).unwrap());
        let projects = [Scope { name: "media-prod".into(), id: "0a1b".into() }];
        let explain = Explain { format, ..explain("proxy.yaml", arguments) };
        let answer = explain.answer(&policy(&callers, &projects), &callers, &projects);
        let mut out = Vec::new();
        let written = answer.and_then(|answer| explain.write(&answer, &mut out));
        written.map(|()| String::from_utf8(out).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn the_text_says_what_is_decided_and_why() {
        for (arguments, expected) in [
            ("batch-cleaner media-prod tmp-1", "allow: rule `contractor` at policy.yaml:9\n"),
            ("batch-cleaner 0a1b tmp-1", "allow: rule `contractor` at policy.yaml:9\n"),
            (
                "editor-api media-prod keep-1 mpc:editingTask:delete",
                "deny: rule `keep` at policy.yaml:17\nreason: ticket \"1411\"\n",
            ),
            (
                "batch-cleaner media-prod 7",
                "deny: no rule allows it\nnearest miss: rule `contractor` at policy.yaml:9\n  \
                 its `jobs` are tmp-*, old-*; the call has 7\n",
            ),
            (
                "oncall media-prod 7 mpc:editingTask:delete 2027-01-30T12:00:00Z 10.2.3.4",
                "allow: rule `office` at policy.yaml:25\n",
            ),
            (
                "oncall media-prod 7 mpc:editingTask:delete 2027-01-30T12:00:00Z 10.3.3.4",
                "deny: no rule allows it\nnearest miss: rule `office` at policy.yaml:25\n  \
                 its `IpAddress` wants `g:SourceIp` 10.2.0.0/16; the call has 10.3.3.4\n",
            ),
            (
                "oncall media-prod 7 mpc:editingTask:delete 2027-01-30",
                "deny: no rule allows it\nnearest miss: rule `office` at policy.yaml:25\n  \
                 its `IpAddress` wants `g:SourceIp` 10.2.0.0/16; the call has nothing\n",
            ),
            (
                "oncall media-prod 7 mpc:editingTask:delete 2027-01-31 10.2.3.4",
                "deny: no rule allows it\nnearest miss: rule `office` at policy.yaml:25\n  \
                 it ended at 2027-01-31; the call is at 2027-01-31\n",
            ),
            (
                "intern media-prod obs-1",
                "deny: no rule allows it\nwould_allow: rule `wider` at policy.yaml:33, which is only observed\n\
                 nearest miss: rule `wider` at policy.yaml:33\n  it is only observed: `mode` is observe\n",
            ),
        ] {
            assert_eq!(asked(Format::Text, arguments), Ok(expected.to_owned()), "{arguments}");
        }
    }

    #[test]
    fn the_json_has_the_same_keys_whatever_is_decided() {
        let json = |arguments| -> serde_json::Value {
            serde_json::from_str(&asked(Format::Json, arguments).unwrap()).unwrap()
        };
        assert_eq!(
            json("editor-api media-prod keep-1"),
            serde_json::json!({
                "effect": "deny", "rule": "keep", "location": "policy.yaml:17", "mode": "enforce",
                "observed": null, "nearest_miss": null, "reason": "ticket \"1411\"", "needs": [], "waiting": [],
            })
        );
        assert_eq!(
            json("editor-api media-prod tmp-1"),
            serde_json::json!({
                "effect": "deny", "rule": null, "location": null, "reason": null, "mode": "enforce",
                "observed": null, "needs": [], "waiting": [],
                "nearest_miss": {
                    "rule": "contractor", "location": "policy.yaml:9",
                    "field": "callers", "operator": null, "key": null,
                    "wanted": "batch-cleaner", "got": "editor-api",
                },
            })
        );
        let elsewhere = "oncall media-prod 7 mpc:editingTask:delete 2027-01-01 ::ffff:10.3.3.4";
        assert_eq!(
            json(elsewhere)["nearest_miss"],
            serde_json::json!({
                "rule": "office", "location": "policy.yaml:25", "field": "condition",
                "operator": "IpAddress", "key": "g:SourceIp", "wanted": "10.2.0.0/16", "got": "10.3.3.4",
            })
        );
        assert_eq!(
            json("intern media-prod obs-1")["observed"],
            serde_json::json!({ "effect": "would_allow", "rule": "wider", "location": "policy.yaml:33" })
        );
    }

    #[test]
    fn a_name_that_nothing_has_is_an_error_with_the_closest_one() {
        for (arguments, expected) in [
            ("editr-api media-prod 7", "there is no caller `editr-api`; did you mean `editor-api`?"),
            ("stranger media-prod 7", "there is no caller `stranger`"),
            ("editor-api media-prd 7", "there is no project `media-prd`; did you mean `media-prod`?"),
            (
                "editor-api media-prod 7 mpc:editingtask:delete",
                "there is no action `mpc:editingtask:delete`; did you mean `mpc:editingTask:delete`?",
            ),
            ("editor-api media-prod a/b", "a job id is 1 to 64 characters of A-Z a-z 0-9 _ -"),
        ] {
            assert_eq!(asked(Format::Text, arguments), Err(expected.to_owned()), "{arguments}");
        }
    }

    #[test]
    fn the_policy_of_a_configuration_is_asked() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("proxy.yaml"), PROXY).unwrap();
        std::fs::write(directory.path().join("policy.yaml"), POLICY).unwrap();
        let run = |file: &str, arguments: &str| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let config = directory.path().join(file).display().to_string();
            let code = explain(&config, arguments).run(&mut out, &mut err).unwrap();
            (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
        };
        let (code, out, err) = run("proxy.yaml", "editor-api media-prod 100211");
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        assert!(
            out.starts_with("allow: rule `editor-cancels` at ") && out.ends_with("policy.yaml:5\n"),
            "{out}"
        );
        let (code, out, _) = run("proxy.yaml", "editor-api media-prod keep-1");
        assert!(code == ExitCode::SUCCESS && out.starts_with("deny: "), "{out}");
        let (code, out, err) = run("nowhere.yaml", "editor-api media-prod 100211");
        assert_eq!((code, out.as_str()), (ExitCode::from(78), ""));
        assert!(err.contains("nowhere.yaml"), "{err}");
    }

    const PROXY: &str = "version: 1
policy: policy.yaml
listeners: [{ name: app, bind: 127.0.0.1:8080 }]
projects: [{ name: media-prod, id: 0a1b2c3d, endpoint: 'https://mpc.example', credential: prod }]
credentials: { prod: { environment: {} } }
";

    const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [{ listener: app }] }
rules:
  - { id: editor-cancels, effect: allow, callers: [editor-api], actions: ['*'], projects: ['*'], jobs: ['*'] }
  - { id: keep, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['keep-*'] }
";
}
