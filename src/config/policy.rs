//! What does `policy.yaml` say? Its callers and rules as they were written, each value read on its own.
//!
//! Whether names fit together is not asked here: see `link`. Whether a call is allowed is `crate::policy`'s.

use super::condition;
use super::decode::{Fields, list, named};
use super::page::{Page, Placed};
use super::proof;
use super::proxy::version;
use super::rate;
use super::report::Place;
use super::scalar;
use super::yaml::Node;
use crate::identity::{CallerId, Proof};
use crate::limit::CallerLimits;
use crate::policy::{Effect, Field, Glob, Location, Mode, NO_RULE, Rule};
use chrono::{DateTime, Utc};
use std::sync::Arc;

/// `policy.yaml` as it was written. What could not be read is missing and reported.
#[derive(Default)]
pub(super) struct Written {
    pub(super) mode: Option<Placed<Mode>>,
    pub(super) callers: Vec<CallerWritten>,
    pub(super) rules: Vec<RuleWritten>,
}

/// A caller as it was written.
pub(super) struct CallerWritten {
    pub(super) id: Placed<CallerId>,
    pub(super) identify: Vec<Placed<Proof>>,
    pub(super) limits: CallerLimits,
}

/// A rule as it was written.
pub(super) struct RuleWritten {
    pub(super) id: Option<Placed<Arc<str>>>,
    pub(super) effect: Option<Effect>,
    pub(super) callers: Vec<Placed<Glob>>,
    pub(super) actions: Vec<Placed<Glob>>,
    pub(super) projects: Vec<Placed<Glob>>,
    pub(super) jobs: Vec<Placed<Glob>>,
    pub(super) condition: condition::Written,
    pub(super) expires: Option<Placed<DateTime<Utc>>>,
    pub(super) mode: Option<Placed<Mode>>,
    pub(super) reason: Option<String>,
    pub(super) place: Place,
}

impl RuleWritten {
    /// Whether all of it could be read.
    pub(super) fn is_readable(&self) -> bool {
        self.id.is_some() && self.effect.is_some()
    }

    /// One of its lists of patterns.
    pub(super) fn globs(&self, list: Field) -> &[Placed<Glob>] {
        match list {
            Field::Callers => &self.callers,
            Field::Actions => &self.actions,
            Field::Projects => &self.projects,
            Field::Jobs => &self.jobs,
            Field::Expires | Field::Condition | Field::Mode => &[],
        }
    }

    /// What it means, where all of it could be read.
    pub(super) fn meaning(&self, file: &Arc<str>) -> Option<Rule> {
        let globs = |globs: &[Placed<Glob>]| globs.iter().map(|glob| glob.value.clone()).collect();
        Some(Rule {
            id: self.id.as_ref()?.value.to_string(),
            effect: self.effect?,
            callers: globs(&self.callers),
            actions: globs(&self.actions),
            projects: globs(&self.projects),
            jobs: globs(&self.jobs),
            condition: self.condition.condition.clone(),
            expires: self.expires.as_ref().map(|expires| expires.value),
            mode: self.mode.as_ref().map(|mode| mode.value).unwrap_or_default(),
            location: Location { file: Arc::clone(file), line: self.place.line.into() },
            reason: self.reason.clone(),
        })
    }
}

/// Reads the whole file.
pub(super) fn read(page: &Page, root: Node<'_>) -> Option<Written> {
    read_with(page, root, caller)
}

/// Reads the rules, and of the callers their names only: how they prove themselves, and the files that takes,
/// is left to whoever runs the proxy.
pub(super) fn read_rules(page: &Page, root: Node<'_>) -> Option<Written> {
    read_with(page, root, |page, name, _| {
        Some(CallerWritten { id: caller_id(page, name)?, identify: vec![], limits: CallerLimits::default() })
    })
}

fn read_with(
    page: &Page,
    mut root: Node<'_>,
    caller: impl Fn(&Page, &Placed<Arc<str>>, &Node) -> Option<CallerWritten>,
) -> Option<Written> {
    let nodes = root.take_items("rules");
    let had_rules = !nodes.is_empty();
    let mut rules = Vec::with_capacity(nodes.len());
    for node in nodes {
        rules.extend(rule(page, &node));
    }
    let mut fields = Fields::of(page, &root, "policy.yaml")?;
    fields.required(("version", "1"), version);
    let mode = fields.optional("mode", mode);
    let callers =
        fields.required(("callers", "{ editor-api: { identify: [ { listener: app } ] } }"), |page, node| {
            let all = named(page, node, "the callers");
            Some(all.iter().filter_map(|(name, node)| caller(page, name, node)).collect())
        });
    fields.required(("rules", "[ { id: …, effect: allow, callers: […], … } ]"), |page, node| {
        // Only what is no list of rules is still there.
        if !had_rules {
            list(page, node, "a list of rules");
        }
        Some(())
    });
    fields.finish();
    Some(Written { mode, callers: callers.unwrap_or_default(), rules })
}

fn caller(page: &Page, name: &Placed<Arc<str>>, node: &Node) -> Option<CallerWritten> {
    let id = caller_id(page, name);
    let mut fields = Fields::of(page, node, "a caller")?;
    let proofs = fields.required(("identify", "[ { listener: app } ]"), |page, node| {
        Some(list(page, node, "a list of proofs such as [ { listener: app } ]").iter())
    });
    let identify = proofs.into_iter().flatten().filter_map(|node| proof::read(page, node)).collect();
    let limits = fields.optional("limits", rate::caller).unwrap_or_default();
    fields.finish();
    Some(CallerWritten { id: id?, identify, limits })
}

fn caller_id(page: &Page, name: &Placed<Arc<str>>) -> Option<Placed<CallerId>> {
    CallerId::parse(&name.value)
        .map(|value| Placed { value, place: name.place })
        .map_err(|error| {
            page.error(name.place, format!("`{}` is not a caller's name", name.value), error.to_string());
        })
        .ok()
}

fn rule(page: &Page, node: &Node) -> Option<RuleWritten> {
    let mut fields = Fields::of(page, node, "a rule")?;
    let rule = RuleWritten {
        id: fields.required(("id", "editor-cancels"), rule_id),
        effect: fields.required(("effect", "allow"), |page, node| {
            scalar::choice(page, node, &[("allow", Effect::Allow), ("deny", Effect::Deny)])
        }),
        callers: fields.required(("callers", "[editor-api]"), globs).unwrap_or_default(),
        actions: fields.required(("actions", "[mpc:editingTask:delete]"), globs).unwrap_or_default(),
        projects: fields.required(("projects", "[media-prod]"), globs).unwrap_or_default(),
        jobs: fields.required(("jobs", "[\"*\"]"), globs).unwrap_or_default(),
        condition: fields.optional("condition", condition::read).unwrap_or_default(),
        expires: fields.optional("expires", |page, node| {
            scalar::moment(page, node).map(|value| Placed { value, place: node.place })
        }),
        mode: fields.optional("mode", mode),
        reason: fields.optional("reason", |page, node| Some(scalar::text(page, node, "text")?.to_owned())),
        place: node.place,
    };
    fields.finish();
    Some(rule)
}

fn rule_id(page: &Page, node: &Node) -> Option<Placed<Arc<str>>> {
    let id = scalar::name(page, node)?;
    if *id.value == *NO_RULE {
        let message = format!("`{NO_RULE}` is what metrics call it when no rule decides");
        page.error(id.place, message, "choose another name");
    }
    Some(id)
}

fn mode(page: &Page, node: &Node) -> Option<Placed<Mode>> {
    let words = [Mode::Enforce, Mode::Observe].map(|mode| (mode.as_str(), mode));
    scalar::choice(page, node, &words).map(|value| Placed { value, place: node.place })
}

fn globs(page: &Page, node: &Node) -> Option<Vec<Placed<Glob>>> {
    if let Some(text) = page.scalar(node) {
        page.error(node.place, "expected a list, found a single value", format!("write [\"{text}\"]"));
        return None;
    }
    let nodes = list(page, node, "a list");
    // A large policy has many of these, most of them with one.
    let mut globs = Vec::with_capacity(nodes.len());
    globs.extend(nodes.iter().filter_map(|node| glob(page, node)));
    Some(globs)
}

fn glob(page: &Page, node: &Node) -> Option<Placed<Glob>> {
    let text = scalar::text(page, node, "text")?;
    page.glob(text)
        .map(|value| Placed { value, place: node.place })
        .map_err(|error| {
            page.error(node.place, error.to_string(), "`*` stands for any run of characters, `?` for one")
        })
        .ok()
}
