//! `policy`: what would the policy say to a call, and why?

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::exit;
use crate::config::{self, Project};
use crate::identity::CallerId;
use crate::operation::{CATALOGUE, Segment};
use crate::policy::{Call, NearestMiss, Policy, Scope};

/// Ask the policy.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what is decided for a call, which rule decides it and, if nothing allows it, which rule came closest.
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
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
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// A decision in words: its fields are those of the JSON answer, and it displays as the text one.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    effect: &'static str,
    rule: Option<String>,
    location: Option<String>,
    nearest_miss: Option<Miss>,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Miss {
    rule: String,
    location: String,
    field: &'static str,
    wanted: String,
    got: String,
}

/// Runs the command: the answer to standard output, problems of the configuration to standard error.
///
/// # Errors
/// Where the call names what is not configured, or the answer cannot be written; a configuration that is not
/// valid is an exit code.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Explain(explain) => explain.run(&mut io::stdout().lock(), &mut io::stderr().lock()),
    }
}

/// What the policy says to a call.
pub(super) fn explanation(policy: &Policy, call: &Call<'_>) -> Answer {
    let explanation = policy.explain(call);
    Answer {
        effect: explanation.effect.as_str(),
        rule: explanation.rule.map(|rule| rule.id.clone()),
        location: explanation.rule.map(|rule| rule.location.to_string()),
        nearest_miss: explanation.nearest_miss.map(Miss::from),
        reason: explanation.rule.and_then(|rule| rule.reason.clone()),
    }
}

impl Explain {
    fn run(&self, out: &mut impl Write, err: &mut impl Write) -> anyhow::Result<ExitCode> {
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
        out.write_all(answer.render(self.format)?.as_bytes()).context("cannot write the answer")?;
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
        let actions = CATALOGUE.iter().map(|operation| operation.action);
        if !actions.clone().any(|action| action == self.action) {
            return Err(unknown("action", &self.action, actions));
        }
        Segment::parse(&self.job).context("a job id is 1 to 64 characters of A-Z a-z 0-9 _ -")?;
        let call = Call { caller, action: &self.action, project: &project.name, job: &self.job };
        Ok(explanation(policy, &call))
    }
}

impl Answer {
    fn render(&self, format: Format) -> anyhow::Result<String> {
        match format {
            Format::Text => Ok(self.to_string()),
            Format::Json => Ok(serde_json::to_string_pretty(self)? + "\n"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.rule, &self.location) {
            (Some(rule), Some(location)) => writeln!(f, "{}: rule `{rule}` at {location}", self.effect)?,
            _ => writeln!(f, "{}: no rule allows it", self.effect)?,
        }
        if let Some(reason) = &self.reason {
            writeln!(f, "reason: {reason}")?;
        }
        if let Some(miss) = &self.nearest_miss {
            writeln!(f, "nearest miss: rule `{}` at {}", miss.rule, miss.location)?;
            writeln!(f, "  its `{}` are {}; the call has {}", miss.field, miss.wanted, miss.got)?;
        }
        Ok(())
    }
}

impl From<NearestMiss<'_>> for Miss {
    fn from(miss: NearestMiss<'_>) -> Self {
        Self {
            rule: miss.rule.id.clone(),
            location: miss.rule.location.to_string(),
            field: miss.field.as_str(),
            wanted: miss.wanted,
            got: miss.got,
        }
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
    use crate::policy::{Effect, Glob, Location, Rule};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
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
            location: Location { file: "policy.yaml".into(), line },
            reason: (effect == Effect::Deny).then(|| "ticket \"1411\"".into()),
        };
        let rules = vec![
            rule("contractor", Effect::Allow, 9, ["batch-cleaner", "tmp-*,old-*"]),
            rule("keep", Effect::Deny, 17, ["*", "keep-*"]),
        ];
        Policy::new(rules, callers, projects, "0123abcd")
    }

    fn explain(config: &str, arguments: &str) -> Explain {
        let names = ["--caller", "--project", "--job", "--action"];
        let pairs = names.into_iter().zip(arguments.split(' ')).flat_map(|(name, value)| [name, value]);
        let words = ["policy", "explain", "--config", config].into_iter().chain(pairs);
        let Command::Explain(explain) = Cli::try_parse_from(words).unwrap().args.command;
        explain
    }

    /// The answer to `--caller CALLER --project PROJECT --job JOB` and perhaps more.
    fn answer(format: Format, arguments: &str) -> Result<String, String> {
        let callers = ["batch-cleaner", "editor-api"].map(|name| CallerId::parse(name).unwrap());
        let projects = [Scope { name: "media-prod".into(), id: "0a1b".into() }];
        let answer =
            explain("proxy.yaml", arguments).answer(&policy(&callers, &projects), &callers, &projects);
        answer.and_then(|answer| answer.render(format)).map_err(|e| e.to_string())
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
        ] {
            assert_eq!(answer(Format::Text, arguments), Ok(expected.to_owned()), "{arguments}");
        }
    }

    #[test]
    fn the_json_has_the_same_keys_whatever_is_decided() {
        let json = |arguments| -> serde_json::Value {
            serde_json::from_str(&answer(Format::Json, arguments).unwrap()).unwrap()
        };
        assert_eq!(
            json("editor-api media-prod keep-1"),
            serde_json::json!({
                "effect": "deny", "rule": "keep", "location": "policy.yaml:17",
                "nearest_miss": null, "reason": "ticket \"1411\"",
            })
        );
        assert_eq!(
            json("editor-api media-prod tmp-1"),
            serde_json::json!({
                "effect": "deny", "rule": null, "location": null, "reason": null,
                "nearest_miss": {
                    "rule": "contractor", "location": "policy.yaml:9",
                    "field": "callers", "wanted": "batch-cleaner", "got": "editor-api",
                },
            })
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
            assert_eq!(answer(Format::Text, arguments), Err(expected.to_owned()), "{arguments}");
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
