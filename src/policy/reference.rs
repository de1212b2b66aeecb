//! What should a policy say? The documentation, read rule by rule and word by word, with no thought for speed.
//!
//! Tests compare the real evaluation with this one, and so does fuzzing, which includes this file: nothing here
//! may use more of the real one than what was written. It shares no code with what it judges.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::{Call, Condition, Effect, Glob, Mode, Rule};

/// The names that a policy is compiled for.
pub(crate) struct Known<'k> {
    pub(crate) callers: &'k [&'k str],
    pub(crate) actions: &'k [&'k str],
    /// Names and ids.
    pub(crate) projects: &'k [(&'k str, &'k str)],
}

/// An effect, the line of the rule that decided, and that of the rule under observation that would have.
pub(crate) type Verdict = (Effect, Option<u64>, Option<u64>);

/// What the rules say.
pub(crate) fn decide(rules: &[Rule], known: &Known<'_>, call: &Call<'_>) -> Verdict {
    let project = known.projects.iter().find(|(name, _)| *name == call.project);
    let there = known.callers.contains(&call.caller.as_str()) && known.actions.contains(&call.action);
    let (true, Some((name, id))) = (there, project) else { return (Effect::Deny, None, None) };
    let matching: Vec<&Rule> = rules
        .iter()
        .filter(|rule| {
            any(&rule.callers, &[call.caller.as_str()])
                && any(&rule.actions, &[call.action])
                && any(&rule.projects, &[name, id])
                && any(&rule.jobs, &[call.job])
                && rule.expires.is_none_or(|end| end > call.at)
                && condition_holds(&rule.condition, call, id)
        })
        .collect();
    let first = |mode, effect| matching.iter().find(|rule| (rule.mode, rule.effect) == (mode, effect));
    let deciding = first(Mode::Enforce, Effect::Deny).or(first(Mode::Enforce, Effect::Allow));
    let any_denial = matching.iter().any(|rule| rule.effect == Effect::Deny);
    let observed = first(Mode::Observe, if any_denial { Effect::Deny } else { Effect::Allow });
    let line = |rule: &&Rule| rule.location.line;
    (deciding.map_or(Effect::Deny, |rule| rule.effect), deciding.map(line), observed.map(line))
}

fn any(globs: &[Glob], names: &[&str]) -> bool {
    globs.iter().any(|glob| names.iter().any(|name| plain_match(glob.as_str(), name)))
}

/// The meaning of a pattern, by trying everything.
pub(crate) fn plain_match(pattern: &str, text: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => text.is_empty(),
        Some(("*", rest)) => (0..=text.len()).any(|skip| plain_match(rest, &text[skip..])),
        Some(("?", rest)) => !text.is_empty() && plain_match(rest, &text[1..]),
        Some((letter, rest)) => text.strip_prefix(letter).is_some_and(|text| plain_match(rest, text)),
    }
}

/// Whether every test of the condition holds.
pub(crate) fn condition_holds(condition: &Condition, call: &Call<'_>, project_id: &str) -> bool {
    condition.tests().iter().all(|test| {
        let found = match test.key().as_str() {
            "g:CurrentTime" => Some(call.at.to_rfc3339()),
            "g:SourceIp" => call.source_ip.map(|address| address.to_string()),
            "mpc:ProjectId" => Some(project_id.to_owned()),
            "mpc:JobId" => Some(call.job.to_owned()),
            "proxy:Listener" => call.listener.map(str::to_owned),
            "proxy:IdentifiedBy" => call.identified_by.map(str::to_owned),
            other => unreachable!("{other}"),
        };
        test_holds(&test.operator().to_string(), &test.values().collect::<Vec<_>>(), found.as_deref())
    })
}

fn test_holds(operator: &str, values: &[&str], found: Option<&str>) -> bool {
    if operator == "Null" {
        return values.contains(&if found.is_none() { "true" } else { "false" });
    }
    let (operator, absent) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, operator.contains("Not")),
    };
    let Some(found) = found else { return absent };
    match operator {
        "StringNotEquals" => !values.contains(&found),
        "StringNotEqualsIgnoreCase" => !values.iter().any(|value| same_letters(value, found)),
        "StringNotMatch" => !values.iter().any(|value| plain_match(value, found)),
        "NotIpAddress" => !values.iter().any(|value| in_network(value, found)),
        _ => values.iter().any(|value| one_matches(operator, value, found)),
    }
}

fn one_matches(operator: &str, value: &str, found: &str) -> bool {
    match operator {
        "StringEquals" => value == found,
        "StringEqualsIgnoreCase" | "Bool" => same_letters(value, found),
        "StringMatch" => plain_match(value, found),
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

/// Compares bits as text.
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
