//! What should a policy say? A file of cases, each a call and what is expected of it, read for `policy test`.
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
//! A name that the policy has not is an error of the file and no failing case: a test of a call that nobody can
//! make tests nothing.

use super::Report;
use super::alone::{PolicyAlone, policy_alone};
use super::decode::{Fields, did_you_mean, list};
use super::facts;
use super::page::{Page, Placed};
use super::proxy::version;
use super::report::Place;
use super::scalar;
use super::yaml::Node;
use crate::identity::CallerId;
use crate::operation::{ACTIONS, CREATE};
use crate::policy::{Effect, Facts, Policy, Scope};
use chrono::{DateTime, Utc};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// A file of cases, and the policy they are about.
#[derive(Debug)]
pub struct CaseFile {
    /// The policy.
    pub policy: Policy,
    /// The cases, in the order of the file.
    pub cases: Vec<Case>,
}

/// A call, and what is expected of it.
#[derive(Debug)]
pub struct Case {
    /// What it is about, in the words of who wrote it.
    pub name: String,
    /// Its line, counted from 1.
    pub line: u64,
    /// Who calls.
    pub caller: CallerId,
    /// The IAM action.
    pub action: String,
    /// The project by its name.
    pub project: Arc<str>,
    /// The job's id; `None` where the call creates one.
    pub job: Option<Arc<str>>,
    /// What is known of the job.
    pub facts: Facts,
    /// When; absent: now.
    pub time: Option<DateTime<Utc>>,
    /// From which address; absent: none, as on a Unix socket.
    pub source_ip: Option<IpAddr>,
    /// On which listener.
    pub listener: Option<Arc<str>>,
    /// By which kind of proof.
    pub identified_by: Option<Arc<str>>,
    /// What is expected.
    pub expected: Expected,
}

/// What a case expects. What it does not say may be anything.
#[derive(Debug)]
pub struct Expected {
    /// What the rules in force say; `None`: that depends on facts that are not known.
    pub effect: Option<Effect>,
    /// The rule that decides; `Some(None)`: no rule does.
    pub rule: Option<Option<Arc<str>>>,
    /// The rule under observation that would; `Some(None)`: no rule would.
    pub observed: Option<Option<Arc<str>>>,
}

/// A case as it was written.
struct Written<'n> {
    name: Option<&'n str>,
    place: Place,
    caller: Option<Placed<Arc<str>>>,
    action: Option<Placed<Arc<str>>>,
    project: Option<Placed<Arc<str>>>,
    job: Option<Placed<Arc<str>>>,
    facts: facts::Written,
    time: Option<DateTime<Utc>>,
    source_ip: Option<IpAddr>,
    listener: Option<Placed<Arc<str>>>,
    identified_by: Option<Placed<Arc<str>>>,
    expect: Option<ExpectWritten>,
}

struct ExpectWritten {
    /// The outer one: whether it could be read.
    effect: Option<Option<Effect>>,
    rule: Option<Placed<Arc<str>>>,
    observed: Option<Placed<Arc<str>>>,
}

/// Reads a file of cases and the policy it names.
///
/// # Errors
/// All problems of the two.
pub fn cases(path: &Path) -> Result<CaseFile, Report> {
    let mut report = Report::default();
    let page = Page::open(path).unwrap_or_else(|error| Page::unreadable(path, &error));
    let file = page.parse().and_then(|root| read(&page, &root, &mut report));
    page.close(&mut report);
    file.filter(|_| !report.has_errors()).ok_or(report)
}

fn read(page: &Page, root: &Node, report: &mut Report) -> Option<CaseFile> {
    let mut fields = Fields::of(page, root, "a file of cases")?;
    fields.required(("version", "1"), version);
    let path = |page: &Page, node: &Node| Some(page.resolve(scalar::text(page, node, "the path of a file")?));
    let policy = fields.required(("policy", "policy.yaml"), path);
    let config = fields.optional("config", path);
    let written: Vec<Written<'_>> = fields
        .required(
            ("cases", "[ { name: …, caller: …, project: …, job: …, expect: allow } ]"),
            |page, node| {
                Some(list(page, node, "a list of cases").iter().filter_map(|node| case(page, node)).collect())
            },
        )
        .unwrap_or_default();
    fields.finish();
    match policy_alone(&policy?, config.as_deref(), || seen(&written)) {
        Ok(alone) => {
            let cases = written.iter().filter_map(|case| case.meaning(page, &alone)).collect();
            Some(CaseFile { policy: alone.policy, cases })
        }
        Err(problems) => {
            report.append(problems);
            None
        }
    }
}

/// The projects that the cases name, for a policy without a `proxy.yaml`: each is its own id.
fn seen(cases: &[Written<'_>]) -> Vec<Scope> {
    let projects = cases.iter().filter_map(|case| case.project.as_ref());
    let scope = |name: &Placed<Arc<str>>| Scope { name: name.value.clone(), id: name.value.clone() };
    projects.map(scope).collect()
}

fn case<'n>(page: &'n Page, node: &'n Node<'n>) -> Option<Written<'n>> {
    let mut fields = Fields::of(page, node, "a case")?;
    let text = |page: &Page, node: &Node| {
        Some(Placed { value: scalar::text(page, node, "text")?.into(), place: node.place })
    };
    let case = Written {
        name: fields.required(("name", "the editor cancels a job"), |page, node| {
            scalar::text(page, node, "a sentence")
        }),
        place: node.place,
        caller: fields.required(("caller", "editor-api"), text),
        action: fields.optional("action", text),
        project: fields.required(("project", "media-prod"), scalar::name),
        job: fields.optional("job", scalar::name),
        facts: fields.optional("facts", facts::read).unwrap_or_else(|| facts::Written::nothing(node.place)),
        time: fields.optional("time", scalar::moment),
        source_ip: fields.optional("source_ip", address),
        listener: fields.optional("listener", scalar::name),
        identified_by: fields.optional("identified_by", scalar::name),
        expect: fields.required(("expect", "allow"), expect),
    };
    fields.finish();
    Some(case)
}

fn address(page: &Page, node: &Node) -> Option<IpAddr> {
    let text = scalar::text(page, node, "an address such as 10.2.3.4")?;
    let address = text.parse();
    if address.is_err() {
        page.error(
            node.place,
            format!("`{text}` is not an IP address"),
            "write one such as 10.2.3.4 or 2001:db8::1",
        );
    }
    address.ok()
}

/// `allow`, `deny`, `undetermined`, or a mapping that says more.
fn expect(page: &Page, node: &Node) -> Option<ExpectWritten> {
    let effect = |page: &Page, node: &Node| {
        let [allow, deny] = [Effect::Allow, Effect::Deny].map(|effect| (effect.as_str(), Some(effect)));
        scalar::choice(page, node, &[allow, deny, (UNDETERMINED, None)])
    };
    if page.scalar(node).is_some() {
        return Some(ExpectWritten { effect: Some(effect(page, node)?), rule: None, observed: None });
    }
    let mut fields = Fields::of(page, node, "`expect`")?;
    let written = ExpectWritten {
        effect: fields.required(("effect", "allow"), effect),
        rule: fields.optional("rule", scalar::name),
        observed: fields.optional("observed", scalar::name),
    };
    fields.finish();
    Some(written)
}

impl Written<'_> {
    /// What it means, where all of it could be read and everything it names is there.
    fn meaning(&self, page: &Page, alone: &PolicyAlone) -> Option<Case> {
        let caller = self.caller.as_ref().and_then(|name| {
            let found = alone.callers.iter().find(|caller| *caller.as_str() == *name.value);
            known(page, name, found, ("caller", alone.callers.iter().map(CallerId::as_str)))
        });
        let project = self.project.as_ref().and_then(|name| {
            let found = alone.projects.iter().find(|p| [&p.name, &p.id].contains(&&name.value));
            known(page, name, found, ("project", alone.projects.iter().map(|project| &*project.name)))
        });
        let actions = ACTIONS.into_iter();
        let action = match &self.action {
            Some(name) => {
                known(page, name, actions.clone().find(|a| **a == *name.value), ("action", actions))
            }
            None => actions.clone().next(),
        };
        let job = action.and_then(|action| self.job(page, action));
        let facts = action.and_then(|action| self.facts.meaning(page, action));
        let expected = self.expect.as_ref().and_then(|expect| expect.meaning(page, &alone.policy));
        Some(Case {
            name: self.name?.to_owned(),
            line: self.place.line.into(),
            caller: caller?.clone(),
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
}

impl Written<'_> {
    /// The job, which there is or is not yet.
    fn job(&self, page: &Page, action: &str) -> Option<Option<Arc<str>>> {
        match (&self.job, action == CREATE) {
            (Some(job), false) => Some(Some(job.value.clone())),
            (None, true) => Some(None),
            (None, false) => {
                page.error(self.place, "a case needs `job`", "add `job: \"100211\"`");
                None
            }
            (Some(job), true) => {
                page.error(job.place, "a job that is created has no id yet", "remove `job`");
                None
            }
        }
    }
}

impl ExpectWritten {
    fn meaning(&self, page: &Page, policy: &Policy) -> Option<Expected> {
        let ids = policy.rules().iter().map(|rule| rule.id.as_str());
        let rule = |name: &Option<Placed<Arc<str>>>| match name {
            None => Some(None),
            Some(name) if *name.value == *NO_RULE => Some(Some(None)),
            Some(name) => {
                let found = ids.clone().find(|id| **id == *name.value);
                known(page, name, found, ("rule", ids.clone())).map(|id| Some(Some(id.into())))
            }
        };
        let (rule, observed) = (rule(&self.rule), rule(&self.observed));
        Some(Expected { effect: self.effect?, rule: rule?, observed: observed? })
    }
}

/// What was found, or a report that nothing has this name.
fn known<'c, T>(
    page: &Page,
    name: &Placed<Arc<str>>,
    found: Option<T>,
    (what, names): (&str, impl Iterator<Item = &'c str> + Clone),
) -> Option<T> {
    if found.is_none() {
        let message = format!("the policy has no {what} `{}`", name.value);
        page.error(name.place, message, did_you_mean(page, &name.value, names));
    }
    found
}

/// What a decision is called that depends on facts that are not known.
pub const UNDETERMINED: &str = "undetermined";
/// What metrics call the absence of a rule, too.
const NO_RULE: &str = "_default";
