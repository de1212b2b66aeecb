//! Test case files of `policy test`: calls and their expected decisions.
//!
//! ```yaml
//! version: 1
//! policy: policy.yaml              # relative to this file
//! cases:
//!   - name: the editor cancels a job
//!     caller: editor-api
//!     project: media-prod
//!     job: "100211"
//!     facts: { mpc:UserData: editor-api/7 }
//!     expect: allow
//! ```
//!
//! A name that the policy does not have is an error in the file, not a failing case: testing a call that nobody can make
//! tests nothing.

use super::Report;
use super::declare::*;
use super::files::PATH;
use super::names::{did_you_mean, known};
use super::report::Position;
use super::standalone::{StandalonePolicy, policy_alone};
use crate::identity::CallerId;
use crate::operation::{ACTIONS, CREATE};
use crate::policy::{Effect, Facts, Key, Policy, Scope, UNDETERMINED};
use chrono::{DateTime, Utc};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A test case file and the policy under test.
#[derive(Debug)]
pub struct CaseFile {
    /// The policy.
    pub policy: Policy,
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
}

/// A call and its expected decision.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Its line, counted from 1.
    pub line: u64,
    /// The caller.
    pub caller: CallerId,
    /// The IAM action.
    pub action: String,
    /// The project's name.
    pub project: Arc<str>,
    /// The job's id. `None` for a create.
    pub job: Option<Arc<str>>,
    /// The facts of the job.
    pub facts: Facts,
    /// The time. `None` means now.
    pub time: Option<DateTime<Utc>>,
    /// The source address. `None` as on a Unix socket.
    pub source_ip: Option<IpAddr>,
    /// The listener.
    pub listener: Option<Arc<str>>,
    /// The kind of credential that identified the caller.
    pub identified_by: Option<Arc<str>>,
    /// The expected decision.
    pub expected: Expected,
}

/// The expectations of a case. Unset ones match anything.
#[derive(Debug)]
pub struct Expected {
    /// The effect of the enforced rules. `None` if it depends on unknown facts.
    pub effect: Option<Effect>,
    /// The rule that decides. `Some(None)` if none does.
    pub rule: Option<Option<Arc<str>>>,
    /// The rule under observation that would decide. `Some(None)` if none would.
    pub observed: Option<Option<Arc<str>>>,
}

section! {
    /// Test cases, and the policy under test.
    struct RawCases, "a test case file" {
        /// The version of this format.
        version: () = VERSION, required("1");
        /// The policy.
        policy: PathBuf = PATH, required("policy.yaml");
        /// The configuration whose projects the policy names.
        config: PathBuf = PATH, optional("the `proxy.yaml` beside the policy");
        /// The cases.
        cases: Vec<Located<RawCase>> = List("a list of test cases", AtKey(nested())),
            several("[ { name: …, caller: …, project: …, job: …, expect: allow } ]");
    }
}

section! {
    /// A call and its expected outcome.
    struct RawCase, "a test case" {
        /// The name of the case.
        name: String = Text("a sentence"), required("the editor cancels a job");
        /// The caller.
        caller: Located<String> = AtKey(Text("text")), required("editor-api");
        /// The IAM action.
        action: Located<String> = AtKey(Text("text")), optional("the first action");
        /// The project by its name or id.
        project: Located<Arc<str>> = NAME, required("media-prod");
        /// The job's id; absent for a create.
        job: Located<Arc<str>> = NAME, optional("none");
        /// The known facts of the job.
        facts: ParsedFacts = own(facts, || Shape::text("the facts")), optional("no facts");
        /// The time of the call.
        time: DateTime<Utc> = MOMENT, optional("now");
        /// The caller's address.
        source_ip: IpAddr = own(address, || Shape::text("an address")), optional("none, as on a Unix socket");
        /// The listener.
        listener: Located<Arc<str>> = NAME, optional("any");
        /// The kind of credential that identified the caller.
        identified_by: Located<Arc<str>> = NAME, optional("any");
        /// The expected outcome.
        expect: RawExpect = own(expect, RawExpect::shape), required("allow");
    }
}

section! {
    /// The expected outcome of a call.
    struct RawExpect, "`expect`" {
        /// The effect of the enforced rules.
        effect: Option<Effect> = EFFECT, required("allow");
        /// The rule that decides.
        rule: Located<Arc<str>> = NAME, optional("any");
        /// The observed rule that would decide.
        observed: Located<Arc<str>> = NAME, optional("any");
    }
}

const EFFECT: Words<3, Option<Effect>> =
    Words([("allow", Some(Effect::Allow)), ("deny", Some(Effect::Deny)), (UNDETERMINED, None)]);

/// Reads a test case file and the policy that it names.
///
/// # Errors
/// All problems of both files.
pub fn cases(path: &Path) -> Result<CaseFile, Report> {
    let mut report = Report::default();
    let source = SourceFile::open(path);
    let file = source.parse().and_then(|root| read(&source, &root, &mut report));
    report.append(source.close());
    report.unless_errors(file)
}

fn read(source: &SourceFile, root: &Node, report: &mut Report) -> Option<CaseFile> {
    let RawCases { version: _version, policy, config, cases } = RawCases::read(source, root)?;
    let alone = policy_alone(&policy?, config.as_deref(), || seen(&cases));
    let alone = alone.map_err(|problems| report.append(problems)).ok()?;
    let cases = cases.iter().filter_map(|case| case.value.resolve(source, case.place, &alone)).collect();
    Some(CaseFile { policy: alone.policy, cases })
}

/// Returns the projects that the cases name, each as its own id, for a policy without a `proxy.yaml`.
fn seen(cases: &[Located<RawCase>]) -> Vec<Scope> {
    let projects = cases.iter().filter_map(|case| case.value.project.as_ref());
    let scope = |name: &Located<Arc<str>>| Scope { name: name.value.clone(), id: name.value.clone() };
    projects.map(scope).collect()
}

fn address(source: &SourceFile, node: &Node) -> Option<IpAddr> {
    let text = scalar::text(source, node, "an address such as 10.2.3.4")?;
    text.parse().ok().or_else(|| {
        let message = format!("`{text}` is not an IP address");
        source.reject(node.place, message, "for example 10.2.3.4 or 2001:db8::1")
    })
}

/// Facts of the job: keys of conditions, each with a value or a list of them.
struct ParsedFacts {
    place: Position,
    told: Vec<(Key, Vec<String>)>,
}

fn facts(source: &SourceFile, node: &Node) -> Option<ParsedFacts> {
    let facts = named(source, node, "the facts, such as { mpc:UserData: editor-api/7 }");
    let told = facts.into_iter().filter_map(|(name, node)| {
        let key = Key::parse(&name.value).filter(|key| key.is_fact()).or_else(|| {
            let keys = Key::ALL.into_iter().filter(|key| key.is_fact()).map(Key::as_str);
            let hint = did_you_mean(source, &name.value, keys);
            source.reject(name.place, format!("`{}` is not a job fact", name.value), hint)
        });
        Some((key?, values(source, node)?))
    });
    Some(ParsedFacts { place: node.place, told: told.collect() })
}

/// Reads a value or a list of values.
fn values(source: &SourceFile, node: &Node) -> Option<Vec<String>> {
    let wrong = |node| source.wrong_kind(node, "a value, a list of values, or [] for none");
    let value = |node| source.scalar(node).map(String::from).or_else(|| wrong(node));
    node.one_or_more().iter().map(value).collect()
}

impl ParsedFacts {
    /// Creates the facts of the job of a call with this action.
    fn resolve(&self, source: &SourceFile, action: &str) -> Option<Facts> {
        let given = if action == CREATE { Facts::given_to_create } else { Facts::given };
        given(&self.told)
            .map_err(|error| source.error(self.place, error.to_string(), "tell of what such a job can have"))
            .ok()
    }
}

/// Reads `allow`, `deny`, `undetermined`, or a mapping with details.
fn expect(source: &SourceFile, node: &Node) -> Option<RawExpect> {
    if source.scalar(node).is_some() {
        return Some(RawExpect { effect: Some(EFFECT.read(source, node)?), rule: None, observed: None });
    }
    RawExpect::read(source, node)
}

impl RawCase {
    /// Resolves it, if all of it could be read and every name exists.
    fn resolve(&self, source: &SourceFile, place: Position, alone: &StandalonePolicy) -> Option<Case> {
        let callers = alone.callers.iter().map(CallerId::as_str);
        let caller = self.caller.as_ref().and_then(|name| known(source, "caller", name, callers));
        let project = self.project.as_ref().and_then(|name| {
            let found = alone.projects.iter().find(|p| [&p.name, &p.id].contains(&&name.value));
            let names = alone.projects.iter().map(|project| &*project.name);
            found.or_else(|| known(source, "project", name, names).and(None))
        });
        let action = match &self.action {
            Some(name) => known(source, "action", name, ACTIONS.into_iter()),
            None => ACTIONS.into_iter().next(),
        };
        let job = action.and_then(|action| self.job(source, place, action));
        let nothing = ParsedFacts { place, told: Vec::new() };
        let facts = action.and_then(|action| self.facts.as_ref().unwrap_or(&nothing).resolve(source, action));
        let expected = self.expect.as_ref().and_then(|expect| expect.resolve(source, &alone.policy));
        Some(Case {
            name: self.name.clone()?,
            line: place.line.into(),
            caller: CallerId::parse(caller?).ok()?,
            action: action?.to_owned(),
            project: project?.name.clone(),
            job: job?,
            facts: facts?,
            time: self.time,
            source_ip: self.source_ip,
            listener: self.listener.as_ref().map(|name| name.value.clone()),
            identified_by: self.identified_by.as_ref().map(|name| name.value.clone()),
            expected: expected?,
        })
    }

    /// Resolves the job: none for a create, required otherwise.
    fn job(&self, source: &SourceFile, place: Position, action: &str) -> Option<Option<Arc<str>>> {
        match (&self.job, action == CREATE) {
            (Some(job), false) => Some(Some(job.value.clone())),
            (None, true) => Some(None),
            (None, false) => source.reject(place, "`job` is required", "add `job: \"100211\"`"),
            (Some(job), true) => source.reject(job.place, "a create has no job id", "remove `job`"),
        }
    }
}

impl RawExpect {
    fn resolve(&self, source: &SourceFile, policy: &Policy) -> Option<Expected> {
        let ids = policy.rules().iter().map(|rule| rule.id.as_str());
        let rule = |name: &Option<Located<Arc<str>>>| match name {
            None => Some(None),
            Some(name) if *name.value == *NO_RULE => Some(Some(None)),
            Some(name) => known(source, "rule", name, ids.clone()).map(|id| Some(Some(id.into()))),
        };
        let (rule, observed) = (rule(&self.rule), rule(&self.observed));
        Some(Expected { effect: self.effect?, rule: rule?, observed: observed? })
    }
}

/// The id that stands for no rule, as in metrics.
const NO_RULE: &str = "_default";
