//! The reference implementation of the policy, for tests: follows the documentation literally, without regard to speed.
//!
//! Tests and fuzzing compare the real evaluation with this one. It shares no code with the real one: it may only read rules
//! as written, and the decision to compare with.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::{Call, Condition, Effect, Glob, Mode, Observed, Outcome, Rule};

pub(crate) struct Known<'k> {
    pub(crate) callers: &'k [&'k str],
    pub(crate) actions: &'k [&'k str],
    /// The projects' names and ids.
    pub(crate) projects: &'k [(&'k str, &'k str)],
}

/// The known facts of a job by key, absent if without a value. All others are unknown.
pub(crate) type KnownFacts = [(&'static str, Vec<String>)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReferenceDecision {
    /// `None` if it depends on unknown facts.
    pub(crate) effect: Option<Effect>,
    /// The line of the rule that decided.
    pub(crate) rule: Option<u64>,
    /// The line of the rule under observation that would have decided. `Err` if that depends on unknown facts.
    pub(crate) observed: Result<Option<u64>, ()>,
}

impl ReferenceDecision {
    /// Converts a real decision, to compare with.
    pub(crate) fn of(outcome: &Outcome<'_>) -> Self {
        let line = |rule: Option<&Rule>| rule.map(|rule| rule.location.line);
        let Outcome::Decided(decision) = outcome else {
            return Self { effect: None, rule: None, observed: Ok(None) };
        };
        let observed = match decision.observed {
            Observed::Unknown(_) => Err(()),
            Observed::Nothing | Observed::Rule(_) => Ok(line(decision.observed.rule())),
        };
        Self { effect: Some(decision.effect), rule: line(decision.rule), observed }
    }
}

pub(crate) fn decide(
    rules: &[Rule],
    known: &Known<'_>,
    call: &Call<'_>,
    told: &KnownFacts,
) -> ReferenceDecision {
    let project = known.projects.iter().find(|(name, _)| *name == call.project);
    let there = known.callers.contains(&call.caller.as_str()) && known.actions.contains(&call.action);
    let denied = ReferenceDecision { effect: Some(Effect::Deny), rule: None, observed: Ok(None) };
    let (true, Some((name, id))) = (there, project) else { return denied };
    let listed = rules.iter().filter(|rule| {
        any(&rule.callers, &[call.caller.as_str()])
            && any(&rule.actions, &[call.action])
            && any(&rule.projects, &[name, id])
            && match call.job {
                Some(job) => any(&rule.jobs, &[job]),
                None => rule.jobs.iter().any(|glob| glob.as_str() == "*"),
            }
            && rule.expires.is_none_or(|end| end > call.at)
    });
    // Whether each condition holds; `None` if unknown.
    let matching = listed.map(|rule| (rule, condition_holds(&rule.condition, call, id, told)));
    let matching: Vec<(&Rule, Option<bool>)> = matching.filter(|(_, holds)| *holds != Some(false)).collect();
    let first = |mode, effect| {
        let holds = |(rule, holds): &&(&Rule, Option<bool>)| {
            (rule.mode, rule.effect) == (mode, effect) && *holds == Some(true)
        };
        matching.iter().find(holds).map(|(rule, _)| rule.location.line)
    };
    let enforced = effects(&matching, |rule| rule.mode == Mode::Enforce);
    let [effect] = enforced[..] else { return ReferenceDecision { effect: None, ..denied } };
    let all = effects(&matching, |_| true);
    let denial = first(Mode::Enforce, Effect::Deny);
    let observed = match first(Mode::Observe, Effect::Deny) {
        Some(line) => Ok(Some(line)),
        None if denial.is_some() => Ok(None),
        None if all.len() > 1 => Err(()),
        None => Ok(first(Mode::Observe, Effect::Allow)),
    };
    let rule = denial.or(first(Mode::Enforce, Effect::Allow));
    ReferenceDecision { effect: Some(effect), rule, observed }
}

/// Returns every possible effect, for all combinations of rules that may hold.
fn effects(matching: &[(&Rule, Option<bool>)], counts: impl Fn(&Rule) -> bool) -> Vec<Effect> {
    let counting: Vec<_> = matching.iter().filter(|(rule, _)| counts(rule)).collect();
    let open = counting.iter().filter(|(_, holds)| holds.is_none()).count();
    let mut effects = Vec::new();
    for world in 0..1_u32 << open {
        let mut choices = (0..).map(|choice| world >> choice & 1 == 1);
        let holding = counting.iter().filter(|(_, holds)| holds.unwrap_or_else(|| choices.next().unwrap()));
        let holding: Vec<Effect> = holding.map(|(rule, _)| rule.effect).collect();
        let allowed = holding.contains(&Effect::Allow) && !holding.contains(&Effect::Deny);
        let effect = if allowed { Effect::Allow } else { Effect::Deny };
        if !effects.contains(&effect) {
            effects.push(effect);
        }
    }
    effects
}

fn any(globs: &[Glob], names: &[&str]) -> bool {
    globs.iter().any(|glob| names.iter().any(|name| plain_match(glob.as_str(), name)))
}

/// Matches a pattern by trying everything.
pub(crate) fn plain_match(pattern: &str, text: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => text.is_empty(),
        Some(("*", rest)) => (0..=text.len()).any(|skip| plain_match(rest, &text[skip..])),
        Some(("?", rest)) => !text.is_empty() && plain_match(rest, &text[1..]),
        Some((letter, rest)) => text.strip_prefix(letter).is_some_and(|text| plain_match(rest, text)),
    }
}

/// Whether every test of the condition holds. `None` if it depends on unknown facts.
pub(crate) fn condition_holds(
    condition: &Condition,
    call: &Call<'_>,
    project_id: &str,
    told: &KnownFacts,
) -> Option<bool> {
    let tests = condition.tests().iter().map(|test| {
        let (operator, key) = (test.operator().to_string(), test.key().as_str());
        let (over, operator) = operator.split_once(':').unwrap_or(("", &operator));
        let values: Vec<String> =
            test.values().filter_map(|value| meant(operator, value, call, project_id)).collect();
        let found = found(key, call, project_id, told)?;
        Some(test_holds(over, operator, &values, &found))
    });
    let tests: Vec<Option<bool>> = tests.collect();
    if tests.contains(&Some(false)) {
        Some(false)
    } else {
        tests.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
    }
}

/// Returns the values of a key. `None` if unknown.
fn found(key: &str, call: &Call<'_>, project_id: &str, told: &KnownFacts) -> Option<Vec<String>> {
    let own = match key {
        "g:CurrentTime" => Some(call.at.to_rfc3339()),
        "g:SourceIp" => call.source_ip.map(|address| address.to_string()),
        "mpc:ProjectId" => Some(project_id.to_owned()),
        "mpc:JobId" => call.job.map(str::to_owned),
        "proxy:Caller" => Some(call.caller.as_str().to_owned()),
        "proxy:Listener" => call.listener.map(str::to_owned),
        "proxy:IdentifiedBy" => call.identified_by.map(str::to_owned),
        fact => return told.iter().find(|(key, _)| *key == fact).map(|(_, values)| values.clone()),
    };
    Some(own.into_iter().collect())
}

/// Expands the variables of a value. Wildcards in their values, and in the text to compare with, are replaced by another
/// character, because they are literal. `None` if a variable has no value.
fn meant(operator: &str, value: &str, call: &Call<'_>, project_id: &str) -> Option<String> {
    let wild = operator.starts_with("StringMatch") || operator.starts_with("StringNotMatch");
    let (mut meant, mut rest) = (String::new(), value);
    while let Some((before, after)) = rest.split_once("${") {
        let (variable, after) = after.split_once('}').unwrap();
        let text = match variable {
            "proxy:Caller" => call.caller.as_str(),
            "proxy:Listener" => call.listener?,
            "mpc:ProjectId" => project_id,
            character => character,
        };
        meant += before;
        meant += &if wild { covered(text) } else { text.into() };
        rest = after;
    }
    Some(meant + rest)
}

fn covered(text: &str) -> String {
    text.replace('*', "\u{1}").replace('?', "\u{2}")
}

fn test_holds(over: &str, operator: &str, values: &[String], found: &[String]) -> bool {
    if operator == "Null" {
        return values.iter().any(|value| value == if found.is_empty() { "true" } else { "false" });
    }
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let holds = |found: &String| {
        let positive = operator.replace("Not", "");
        values.iter().any(|value| one_matches(&positive, value, found)) != operator.contains("Not")
    };
    match (found, over) {
        ([], "") => if_exists || operator.contains("Not"),
        ([], _) => if_exists,
        (all, "ForAllValues") => all.iter().all(holds),
        (all, _) => all.iter().any(holds),
    }
}

fn one_matches(operator: &str, value: &str, found: &str) -> bool {
    match operator {
        "StringEquals" => value == found,
        "StringEqualsIgnoreCase" | "Bool" => same_letters(value, found),
        "StringMatch" => plain_match(value, &covered(found)),
        "DateLessThan" => time(found) < time(value),
        "DateLessThanEquals" => time(found) <= time(value),
        "DateGreaterThan" => time(found) > time(value),
        "DateGreaterThanEquals" => time(found) >= time(value),
        "IpAddress" => in_network(value, found),
        other => unreachable!("{other}"),
    }
}

fn same_letters(one: &str, other: &str) -> bool {
    let folded = |text: &str| text.chars().map(|c| c.to_ascii_lowercase()).collect::<String>();
    folded(one) == folded(other)
}

fn time(text: &str) -> DateTime<Utc> {
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    whole.parse().unwrap()
}

fn in_network(network: &str, address: &str) -> bool {
    let (first, prefix) = network.split_once('/').map_or((network, None), |(f, p)| (f, p.parse().ok()));
    let (kind, first) = bits(first);
    let prefix: usize = prefix.unwrap_or(first.len());
    let (kind, wanted) = match first.get(..prefix).unwrap().strip_prefix(&mapped()) {
        Some(rest) if kind == 6 => (4, rest.to_owned()),
        _ => (kind, first[..prefix].to_owned()),
    };
    let (found_kind, found) = bits(address);
    let (found_kind, found) = match found.strip_prefix(&mapped()) {
        Some(rest) if found_kind == 6 => (4, rest.to_owned()),
        _ => (found_kind, found),
    };
    kind == found_kind && found.starts_with(&wanted)
}

fn bits(address: &str) -> (u8, String) {
    match address.parse().unwrap() {
        IpAddr::V4(v4) => (4, v4.octets().map(|octet| format!("{octet:08b}")).concat()),
        IpAddr::V6(v6) => (6, v6.octets().map(|octet| format!("{octet:08b}")).concat()),
    }
}

fn mapped() -> String {
    "0".repeat(80) + &"1".repeat(16)
}
