//! Checks rules: the names in their lists and conditions, and what only the compiled policy shows.

use super::names::{check_unique_names, did_you_mean};
use super::policy::{ParsedPolicy, RawRule, WILDCARDS};
use super::report::Position;
use super::source_file::{Located, SourceFile};
use crate::operation::{ACTIONS, CREATE, DELETE, Segment, VIEW};
use crate::policy::{Field, Finding, Glob, Key, Mode, Policy, Problem, Scope, Test};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashSet};

/// The names of other files that rules can use. Empty if unknown.
#[derive(Default)]
pub(super) struct KnownNames<'n> {
    /// Names and ids of projects, even if the other of the two could not be read.
    pub(super) projects: Vec<&'n str>,
    /// The projects whose name and id could be read.
    pub(super) scopes: &'n [Scope],
    pub(super) listeners: Vec<&'n str>,
    /// The projects with lookups by v2.
    pub(super) by_v2: Vec<Scope>,
}

/// Checks that every name in a rule exists, and that every caller is in a rule.
pub(super) fn names(source: &SourceFile, policy: &ParsedPolicy, known: &KnownNames<'_>) {
    check_unique_names(source, "a rule", policy.rules.iter().filter_map(|rule| rule.value.id.as_ref()));
    let callers: Vec<&str> = policy.callers.iter().map(|caller| caller.id.value.as_str()).collect();
    let (mut of_callers, mut of_actions, mut of_projects) = (
        Matches::of("caller", &callers),
        Matches::of("action", &ACTIONS),
        Matches::of("project", &known.projects),
    );
    let comparable = Comparable::of(policy, &callers, known);
    for Located { value: rule, .. } in &policy.rules {
        of_callers.look(source, &rule.callers);
        of_actions.look(source, &rule.actions);
        of_projects.look(source, &rule.projects);
        rule.condition.tests().for_each(|(test, places)| comparable.look(source, test, places));
        facts(source, rule, &known.by_v2);
    }
    // An unreadable rule may be the one that names the caller.
    if !source.has_errors() {
        idle_callers(source, policy);
    }
}

/// Checks that the facts that a rule needs of existing jobs can be looked up in all of its projects.
fn facts(source: &SourceFile, rule: &RawRule, by_v2: &[Scope]) {
    let looks_up = |action: &&str| *action != CREATE && rule.actions.iter().any(|g| g.value.is_match(action));
    let of_rule = |project: &&Scope| {
        rule.projects.iter().any(|g| g.value.is_match(&project.name) || g.value.is_match(&project.id))
    };
    let (Some(action), Some(project)) = (ACTIONS.into_iter().find(looks_up), by_v2.iter().find(of_rule))
    else {
        return;
    };
    for (test, places) in
        rule.condition.tests().filter(|(test, _)| test.key().is_fact() && !test.key().is_in_v2())
    {
        let Some(place) = places.first() else { continue };
        let (key, name) = (test.key().as_str(), &project.name);
        let message = format!("`{key}` is never known for {action}: `{name}` uses v2 lookups");
        source.error(*place, message, "set `lookup_form: v1` on that project");
    }
}

fn idle_callers(source: &SourceFile, policy: &ParsedPolicy) {
    let globs: HashSet<&Glob> =
        policy.rules.iter().flat_map(|rule| &rule.value.callers).map(|glob| &glob.value).collect();
    let (names, wildcards): (Vec<&Glob>, Vec<&Glob>) =
        globs.into_iter().partition(|glob| glob.literal().is_some());
    let names: HashSet<&str> = names.into_iter().map(Glob::as_str).collect();
    for id in policy.callers.iter().map(|caller| &caller.id) {
        let name = id.value.as_str();
        if !names.contains(name) && !wildcards.iter().any(|glob| glob.is_match(name)) {
            let message = format!("no rule names the caller `{}`: all its calls are denied", id.value);
            source.warning(id.place, message, "add a rule, or remove the caller");
        }
    }
}

/// Names and the patterns known to match one: ten thousand rules have few distinct patterns.
struct Matches<'n> {
    what: &'static str,
    names: &'n [&'n str],
    there: HashSet<&'n str>,
    matching: HashSet<Glob>,
}

impl<'n> Matches<'n> {
    fn of(what: &'static str, names: &'n [&'n str]) -> Self {
        Self { what, names, there: names.iter().copied().collect(), matching: HashSet::new() }
    }

    /// Reports patterns that match none of the names. Without any names that has been reported already.
    fn look(&mut self, source: &SourceFile, globs: &[Located<Glob>]) {
        for glob in globs.iter().filter(|_| !self.names.is_empty()) {
            let (pattern, text) = (&glob.value, glob.value.as_str());
            if self.there.contains(text) || self.matching.contains(pattern) {
                continue;
            }
            let literal = pattern.literal().is_some();
            if !literal && self.names.iter().any(|name| pattern.is_match(name)) {
                self.matching.insert(pattern.clone());
                continue;
            }
            let what = self.what;
            let message = match literal {
                true => format!("unknown {what} `{text}`"),
                false => format!("no {what} matches `{text}`"),
            };
            let elsewhere = FOREIGN_KEYS.iter().find(|(word, _)| text.rsplit(':').next() == Some(*word));
            let hint = match elsewhere.filter(|_| what == "action") {
                Some((_, action)) => format!("did you mean `{action}`?"),
                None => did_you_mean(source, text, self.names.iter().copied()),
            };
            source.error(glob.place, message, hint);
        }
    }
}

/// The possible values of condition keys, if known.
struct Comparable<'n> {
    known: &'n KnownNames<'n>,
    callers: &'n [&'n str],
    project_ids: Vec<&'n str>,
    /// The kinds of credentials that identify a caller.
    kinds: Vec<&'n str>,
}

impl<'n> Comparable<'n> {
    fn of(policy: &'n ParsedPolicy, callers: &'n [&'n str], known: &'n KnownNames<'n>) -> Self {
        let names: HashSet<&str> = known.scopes.iter().map(|scope| &*scope.name).collect();
        let mut kinds: Vec<&str> = Vec::new();
        for kind in policy.proofs().map(|proof| proof.value.kind().as_str()) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let project_ids = known.projects.iter().filter(|text| !names.contains(**text)).copied().collect();
        Self { known, callers, project_ids, kinds }
    }

    /// Reports texts in a condition that its key can never have.
    fn look(&self, source: &SourceFile, test: &Test, places: &[Position]) {
        let (what, names): (_, &[&str]) = match test.key() {
            Key::ProjectId => ("unknown project id", &self.project_ids),
            Key::Listener => ("unknown listener", &self.known.listeners),
            Key::IdentifiedBy => ("no caller is identified by", &self.kinds),
            Key::Caller => ("unknown caller", self.callers),
            Key::JobId => return job_values(source, test, places),
            Key::CurrentTime | Key::SourceIp => return,
            // The values of jobs are unknown.
            Key::UserData
            | Key::JobStatus
            | Key::EditType
            | Key::Input
            | Key::InputBucket
            | Key::InputObject
            | Key::Output
            | Key::OutputBucket
            | Key::OutputObject => return,
        };
        for (number, (value, place)) in test.values().zip(places).enumerate() {
            let matches = |name: &&str| test.value_matches(number, name).unwrap_or(true);
            if names.is_empty() || names.iter().any(matches) {
                continue;
            }
            let by_name = self.known.scopes.iter().find(|project| *project.name == *value);
            let hint = match by_name.filter(|_| test.key() == Key::ProjectId) {
                Some(project) => format!("that is the project's name: write its id, `{}`", project.id),
                None => did_you_mean(source, value, names.iter().copied()),
            };
            source.error(*place, format!("{what} `{value}`"), hint);
        }
    }
}

fn job_values(source: &SourceFile, test: &Test, places: &[Position]) {
    let operator = test.operator();
    for (number, (value, place)) in test.values().zip(places).enumerate() {
        let wildcards = value.contains(['*', '?']);
        let fixed: String = value.replace('?', "a").split('*').collect();
        let hint = match (operator.takes_wildcards(), wildcards) {
            (false, true) => "`*` and `?` are wildcards in StringMatch and StringNotMatch only",
            (true, true) if fixed.is_empty() => continue,
            (true | false, _) => "a job id is 1 to 64 of A-Z a-z 0-9 _ -",
        };
        let compared = test.value_matches(number, "").is_some();
        if compared && (Segment::parse(&fixed).is_none() || wildcards && !operator.takes_wildcards()) {
            source.error(*place, format!("no job id can be `{value}`"), hint);
        }
    }
}

/// Warns of a policy in observe mode, which denies nothing and must not be forgotten in that state.
pub(super) fn mode(source: &SourceFile, policy: &ParsedPolicy) {
    let observed = policy.mode.as_ref().filter(|mode| mode.value == Mode::Observe);
    if let Some(mode) = observed {
        let message = "NOTHING IS DENIED: `mode: observe` lets every identified caller do everything";
        source.warning(mode.place, message, "remove the line once the audit records are as expected");
    }
}

/// Reports the findings of the compiled policy.
pub(super) fn findings(source: &SourceFile, policy: &Policy, parsed: &ParsedPolicy, now: DateTime<Utc>) {
    // An unreadable part may be the one that gives a rule its effect.
    let whole = !source.has_errors();
    let readable: Vec<&Located<RawRule>> =
        parsed.rules.iter().filter(|rule| rule.value.is_readable()).collect();
    let mut told = WarningCounts { source, kinds: BTreeMap::new() };
    for Finding { rule, number, problem } in policy.findings(now) {
        let Some(Located { value: parsed, place }) = readable.get(number) else { continue };
        let at = |list: Field, glob: &Glob| {
            parsed.globs(list).iter().find(|it| it.value == *glob).map_or(*place, |it| it.place)
        };
        let (kind, place, hint) = match &problem {
            Problem::ImpossibleJob(glob) => {
                source.error(at(Field::Jobs, glob), problem.to_string(), WILDCARDS);
                continue;
            }
            Problem::JobToBe(others) => {
                let place = parsed.jobs.first().map_or(*place, |glob| glob.place);
                match others {
                    false => source.error(place, problem.to_string(), ANY_JOB),
                    true => source.warning(place, problem.to_string(), ANY_JOB),
                }
                continue;
            }
            Problem::NotCompared => {
                if whole {
                    source.warning(*place, problem.to_string(), JOB_PREFIX_HINT);
                }
                continue;
            }
            Problem::NeverDecides(_) => (NO_EFFECT, *place, "remove it, or narrow the other rule".into()),
            Problem::Expired(_) | Problem::ExpiresSoon(_) => {
                let place = parsed.expires.as_ref().map_or(*place, |expires| expires.place);
                (ENDS, place, "write a later date, or remove the rule".into())
            }
            Problem::CouldBeNarrower(list, glob, name) => {
                (TOO_BROAD, at(*list, glob), format!("write `{name}`"))
            }
            Problem::EveryAction(glob) => {
                let hint = format!("name the intended actions, such as `{DELETE}`");
                (TOO_BROAD, at(Field::Actions, glob), hint)
            }
        };
        if whole {
            told.warning(kind.of_many, place, || {
                (format!("rule `{}` {}: {problem}", rule.id, kind.of_one), hint)
            });
        }
    }
    told.finish();
}

/// A kind of warning, in words for one rule and for several.
struct WarningKind {
    of_one: &'static str,
    of_many: &'static str,
}

/// Counts the warnings of each kind. Nobody reads thousands, and a running proxy would have to log them.
struct WarningCounts<'p> {
    source: &'p SourceFile,
    /// The count, and the position of the first that was left out.
    kinds: BTreeMap<&'static str, (usize, Option<Position>)>,
}

impl WarningCounts<'_> {
    fn warning(&mut self, kind: &'static str, place: Position, text: impl FnOnce() -> (String, String)) {
        let (count, first_untold) = self.kinds.entry(kind).or_default();
        *count += 1;
        if *count <= MAX_WARNINGS {
            let (message, hint) = text();
            self.source.warning(place, message, hint);
        } else {
            first_untold.get_or_insert(place);
        }
    }

    fn finish(self) {
        for (kind, (count, first_untold)) in self.kinds {
            let Some(place) = first_untold else { continue };
            let message = format!("rules from here on also {kind}: {} more warnings", count - MAX_WARNINGS);
            self.source.warning(place, message, "fix those above, and check again");
        }
    }
}

/// Keys of other interfaces, with ours.
const FOREIGN_KEYS: [(&str, &str); 5] =
    [("cancel", DELETE), ("stop", DELETE), ("get", VIEW), ("list", VIEW), ("query", VIEW)];
/// The maximum number of warnings of a kind that are listed.
const MAX_WARNINGS: usize = 500;
const NO_EFFECT: WarningKind = WarningKind { of_one: "has no effect", of_many: "have no effect" };
const ENDS: WarningKind = WarningKind { of_one: "ends", of_many: "end" };
const TOO_BROAD: WarningKind = WarningKind { of_one: "is too broad", of_many: "are too broad" };
const ANY_JOB: &str =
    "write `jobs: [\"*\"]`, and restrict `mpc:UserData`, `mpc:Input` and `mpc:Output` in `condition`";
const JOB_PREFIX_HINT: &str = "start or end job patterns with a distinctive prefix or suffix";
