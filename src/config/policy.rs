//! Reads `policy.yaml`, each value by itself; `resolve` checks names.

use super::condition;
use super::declare::*;
use super::proof::PROOF;
use super::rate::CALLER_LIMITS;
use super::report::Position;
use crate::identity::{CallerId, Proof};
use crate::limit::CallerLimits;
use crate::policy::{Effect, Field, Glob, Location, Mode, NO_RULE, Policy, Rule, Scope};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::sync::Arc;

section! {
    /// The policy: callers, how they authenticate, and what they may do.
    pub(super) struct RawPolicy, "policy.yaml" {
        /// The version of this format.
        version: () = VERSION, required("1");
        /// With `observe`, denials are only logged and counted; nothing is denied.
        mode: Located<Mode> = AtKey(MODE), optional("`enforce`");
        /// The callers, and the credentials that identify them.
        callers: Vec<(Located<Arc<str>>, Option<RawCaller>)> = Named("the callers", caller_shape, nested()),
            several("{ editor-api: { identify: [ { listener: app } ] } }");
        /// What they may do: what no rule allows is denied, and a deny overrides every allow.
        rules: Vec<Located<RawRule>> = List("a list of rules", AtKey(nested())),
            several("[ { id: …, effect: allow, callers: […], … } ]");
    }
}

section! {
    /// A service that may call.
    pub(super) struct RawCaller, "a caller" {
        /// Any one of these; two that identify different callers are a 401.
        identify: Vec<Located<Proof>> = List("a list of proofs such as [ { listener: app } ]", PROOF),
            several("[ { listener: app } ]");
        /// Its limits.
        limits: CallerLimits = CALLER_LIMITS, keys("");
    }
}

section! {
    /// A rule. An omitted key never means "any".
    pub(super) struct RawRule, "a rule" {
        /// Its name, which records and metrics use.
        id: Located<Arc<str>> = RULE_ID, required("editor-cancels");
        /// The effect on the calls that it matches.
        effect: Effect = Words([("allow", Effect::Allow), ("deny", Effect::Deny)]), required("allow");
        /// Names of callers. In all four lists `*` matches any characters, and `?` one.
        callers: Vec<Located<Glob>> = GLOBS, several("[editor-api]");
        /// Actions of Huawei's IAM.
        actions: Vec<Located<Glob>> = GLOBS, several("[mpc:editingTask:delete]");
        /// Names or ids of projects.
        projects: Vec<Located<Glob>> = GLOBS, several("[media-prod]");
        /// Ids of jobs, which the cloud assigns: usually all of them.
        jobs: Vec<Located<Glob>> = JOBS, several("[\"*\"]");
        /// Operators and keys of Huawei's IAM 5.0: all must match.
        condition: condition::ParsedCondition = condition::CONDITION, keys("");
        /// From the start of this day (UTC) the rule matches nothing.
        expires: Located<DateTime<Utc>> = AtKey(MOMENT), optional("");
        /// Whether the rule is applied, or only logged and counted.
        mode: Located<Mode> = AtKey(MODE), optional("`enforce`");
        /// Why the rule exists, for auditors.
        reason: String = Text("text"), optional("");
    }
}

/// `policy.yaml` as written. Unreadable parts are reported and left out.
#[derive(Default)]
pub(super) struct ParsedPolicy {
    pub(super) mode: Option<Located<Mode>>,
    pub(super) callers: Vec<ParsedCaller>,
    pub(super) rules: Vec<Located<RawRule>>,
}

/// A caller as written.
pub(super) struct ParsedCaller {
    pub(super) id: Located<CallerId>,
    pub(super) identify: Vec<Located<Proof>>,
    pub(super) limits: CallerLimits,
}

impl RawRule {
    /// Whether all of it could be read.
    pub(super) fn is_readable(&self) -> bool {
        self.id.is_some() && self.effect.is_some()
    }

    pub(super) fn globs(&self, list: Field) -> &[Located<Glob>] {
        match list {
            Field::Callers => &self.callers,
            Field::Actions => &self.actions,
            Field::Projects => &self.projects,
            Field::Jobs => &self.jobs,
            Field::Expires | Field::Condition | Field::Mode => &[],
        }
    }

    /// Resolves it, if all of it could be read.
    pub(super) fn resolve(&self, place: Position, file: &Arc<str>) -> Option<Rule> {
        let globs = |globs: &[Located<Glob>]| globs.iter().map(|glob| glob.value.clone()).collect();
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
            location: Location { file: Arc::clone(file), line: place.line.into() },
            reason: self.reason.clone(),
        })
    }
}

impl ParsedPolicy {
    pub(super) fn proofs(&self) -> impl Iterator<Item = &Located<Proof>> {
        self.callers.iter().flat_map(|caller| &caller.identify)
    }

    /// Compiles the rules that could be read.
    pub(super) fn compile(&self, source: &SourceFile, projects: &[Scope]) -> Policy {
        let file = source.name();
        let rules = self.rules.iter().filter_map(|rule| rule.value.resolve(rule.place, &file));
        let callers: Vec<CallerId> = self.callers.iter().map(|caller| caller.id.value.clone()).collect();
        let mut hash = hex::encode(Sha256::digest(source.text()));
        hash.truncate(HASH_LENGTH);
        let mode = self.mode.as_ref().map(|mode| mode.value).unwrap_or_default();
        Policy::new(rules.collect(), &callers, projects, &hash).in_mode(mode)
    }
}

pub(super) fn read(source: &SourceFile, mut root: Node<'_>) -> Option<ParsedPolicy> {
    let nodes = root.take_items("rules");
    let read = !nodes.is_empty();
    let mut rules = Vec::with_capacity(nodes.len());
    for node in nodes {
        rules.extend(AtKey(nested()).read(source, &node));
    }
    let fields = RawPolicy::fields(source, &root)?;
    // The rules have been taken out, which would leave an empty list.
    let fields = if read { fields.without("rules") } else { fields };
    let RawPolicy { version: _version, mode, callers, rules: _rules } = RawPolicy::of(fields);
    let callers = callers.into_iter().filter_map(|(name, caller)| {
        let (id, RawCaller { identify, limits }) = (caller_id(source, &name), caller?);
        Some(ParsedCaller { id: id?, identify, limits })
    });
    Some(ParsedPolicy { mode, callers: callers.collect(), rules })
}

const RULE_ID: CustomKind<Located<Arc<str>>> =
    own(rule_id, || Shape::bare("a name", "^(?!_default$)[A-Za-z0-9_-]{1,64}$"));
const MODE: Words<2, Mode> = Words([("enforce", Mode::Enforce), ("observe", Mode::Observe)]);
const GLOBS: CustomKind<Vec<Located<Glob>>> =
    own(globs, || Shape::List(Shape::bare("a pattern", "^[!-~]+$").into()));
const JOBS: CustomKind<Vec<Located<Glob>>> =
    own(globs, || Shape::List(Shape::bare("a pattern", "^[A-Za-z0-9_*?-]+$").into()));

fn caller_shape() -> Shape {
    Shape::bare("a name", "^[A-Za-z0-9.-][A-Za-z0-9._-]{0,63}$")
}

fn caller_id(source: &SourceFile, name: &Located<Arc<str>>) -> Option<Located<CallerId>> {
    CallerId::parse(&name.value)
        .map(|value| Located { value, place: name.place })
        .map_err(|error| {
            source.error(name.place, format!("invalid caller name `{}`", name.value), error.to_string());
        })
        .ok()
}

fn rule_id(source: &SourceFile, node: &Node) -> Option<Located<Arc<str>>> {
    let id = NAME.read(source, node)?;
    if *id.value == *NO_RULE {
        let message = format!("`{NO_RULE}` is reserved: metrics use it when no rule decides");
        source.error(id.place, message, "choose another name");
    }
    Some(id)
}

fn globs(source: &SourceFile, node: &Node) -> Option<Vec<Located<Glob>>> {
    if let Some(text) = source.scalar(node) {
        let hint = format!("write [\"{text}\"]");
        return source.reject(node.place, "expected a list, found a single value", hint);
    }
    Some(items(source, node, "a list", |node| glob(source, node)))
}

fn glob(source: &SourceFile, node: &Node) -> Option<Located<Glob>> {
    source
        .glob(scalar::text(source, node, "text")?)
        .map(|value| Located { value, place: node.place })
        .map_err(|error| source.error(node.place, error.to_string(), WILDCARDS))
        .ok()
}

/// The hexadecimal digits of the SHA-256 that identify a policy.
const HASH_LENGTH: usize = 16;
/// A hint about patterns.
pub(super) const WILDCARDS: &str = "`*` matches any run of characters, `?` one character";
