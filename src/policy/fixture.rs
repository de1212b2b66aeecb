//! Policies and calls for tests, from short texts or at random.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use proptest::prelude::*;
use proptest::sample::select;

use super::reference::{self, Known, ReferenceDecision};
use super::{
    Call, Condition, Decision, Effect, Facts, Glob, Key, Location, Mode, Operator, Policy, Rule, Scope, Test,
    parse_moment,
};
use crate::identity::CallerId;
use crate::operation::{ACTIONS, CREATE, DELETE, VIEW};

pub(super) const CALLERS: [&str; 3] = ["editor-api", "batch-cleaner", "oncall"];
const PROJECTS: [(&str, &str); 2] = [("media-prod", "1111"), ("media-test", "2222")];

pub(super) fn now() -> DateTime<Utc> {
    parse_moment("2027-01-15").unwrap()
}

/// Parses a rule written as `EFFECT CALLERS ACTIONS PROJECTS JOBS`, with commas in lists, and optionally ` until MOMENT`,
/// ` observe` and ` if OPERATOR KEY VALUES`, in this order. Its id is `r` and its line.
pub(super) fn rule(text: &str, line: u64) -> Rule {
    let (text, condition) = text.split_once(" if ").map_or((text, vec![]), |(t, c)| (t, vec![test(c)]));
    let (text, mode) =
        text.strip_suffix(" observe").map_or((text, Mode::Enforce), |text| (text, Mode::Observe));
    let (text, expires) = text.split_once(" until ").map_or((text, None), |(t, m)| (t, Some(m)));
    let mut words = text.split(' ');
    let effect = if words.next() == Some("deny") { Effect::Deny } else { Effect::Allow };
    let mut globs = || words.next().unwrap().split(',').map(|g| Glob::parse(g).unwrap()).collect();
    Rule {
        id: format!("r{line}"),
        effect,
        callers: globs(),
        actions: globs(),
        projects: globs(),
        jobs: globs(),
        condition: Condition::new(condition),
        expires: expires.map(|moment| parse_moment(moment).unwrap()),
        mode,
        location: Location { file: "policy.yaml".into(), line },
        reason: None,
    }
}

/// Parses a test written as `OPERATOR KEY VALUES`, with commas between the values.
pub(super) fn test(text: &str) -> Test {
    let [operator, key, values] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let values: Vec<&str> = values.split(',').collect();
    Test::new(Operator::parse(operator).unwrap(), Key::parse(key).unwrap(), &values).unwrap()
}

/// Parses rules written as for [`rule`], at lines 1, 2, ….
pub(super) fn policy(rules: &[&str]) -> Policy {
    compile((1..).zip(rules).map(|(line, text)| rule(text, line)).collect())
}

pub(super) fn compile(rules: Vec<Rule>) -> Policy {
    let callers = CALLERS.map(|name| CallerId::parse(name).unwrap());
    let projects = PROJECTS.map(|(name, id)| Scope { name: name.into(), id: id.into() });
    Policy::new(rules, &callers, &projects, "0123abcd")
}

#[derive(Clone, Debug)]
pub(super) struct OwnedCall {
    caller: CallerId,
    action: &'static str,
    project: String,
    job: Option<String>,
    told: Vec<(Key, Vec<String>)>,
    facts: Facts,
    at: DateTime<Utc>,
    source_ip: Option<IpAddr>,
    listener: Option<String>,
    identified_by: Option<String>,
}

impl OwnedCall {
    /// Parses `CALLER PROJECT JOB`, optionally with `at=`, `ip=`, `listener=`, `by=`, and facts as `KEY=VALUE,VALUE` (`KEY=`
    /// if absent), in any order. `create` or `view` in place of the job is a call of that kind.
    pub(super) fn parse(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let mut name = || words.next().unwrap().to_owned();
        let (caller, project, job) = (CallerId::parse(&name()).unwrap(), name(), name());
        let (action, job) = match job.as_str() {
            "create" => (CREATE, None),
            "view" => (VIEW, Some("7".into())),
            _ => (DELETE, Some(job)),
        };
        let words: Vec<(&str, &str)> = words.map(|word| word.split_once('=').unwrap()).collect();
        let word = |name| words.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let told = words.iter().filter_map(|(key, values)| Some((Key::parse(key)?, list(values))));
        Self {
            caller,
            action,
            project,
            job,
            told: Vec::new(),
            facts: Facts::none_known().clone(),
            at: word("at").map_or_else(now, |at| parse_moment(at).unwrap()),
            source_ip: word("ip").map(|ip| ip.parse().unwrap()),
            listener: word("listener").map(String::from),
            identified_by: word("by").map(String::from),
        }
        .knowing(told.collect())
    }

    /// Returns the same call with these facts only.
    pub(super) fn knowing(self, told: Vec<(Key, Vec<String>)>) -> Self {
        Self { facts: Facts::given(&told).unwrap(), told, ..self }
    }

    pub(super) fn known_values(&self) -> &[(Key, Vec<String>)] {
        &self.told
    }

    /// Returns the facts for the reference implementation, with those derived from whole inputs and outputs.
    pub(super) fn plainly(&self) -> Vec<(&'static str, Vec<String>)> {
        let mut all = Vec::new();
        for (key, values) in &self.told {
            all.push((key.as_str(), values.clone()));
            let follow = [
                (Key::Input, ["mpc:InputBucket", "mpc:InputObject"]),
                (Key::Output, ["mpc:OutputBucket", "mpc:OutputObject"]),
            ];
            let Some((_, follow)) = follow.iter().find(|(whole, _)| whole == key) else { continue };
            let split = values.iter().map(|value| value.split_once('/').unwrap());
            let (buckets, objects): (Vec<_>, Vec<_>) = split.unzip();
            let owned = |texts: Vec<&str>| texts.into_iter().map(String::from).collect();
            all.extend(follow.iter().copied().zip([buckets, objects].map(owned)));
        }
        all
    }

    pub(super) fn call(&self) -> Call<'_> {
        Call {
            caller: &self.caller,
            action: self.action,
            project: &self.project,
            job: self.job.as_deref(),
            facts: &self.facts,
            at: self.at,
            source_ip: self.source_ip,
            listener: self.listener.as_deref(),
            identified_by: self.identified_by.as_deref(),
        }
    }
}

fn list(values: &str) -> Vec<String> {
    values.split(',').filter(|value| !value.is_empty()).map(String::from).collect()
}

/// Returns the decision, which must not depend on unknown facts.
pub(super) fn decided<'p>(policy: &'p Policy, asked: &OwnedCall) -> Decision<'p> {
    let outcome = policy.decide(&asked.call());
    *outcome.decision().unwrap_or_else(|| panic!("{asked:?}: {outcome:?}"))
}

/// Returns the decision of the reference implementation.
pub(super) fn plain_reading(rules: &[Rule], asked: &OwnedCall) -> ReferenceDecision {
    let known = Known { callers: &CALLERS, actions: &ACTIONS, projects: &PROJECTS };
    reference::decide(rules, &known, &asked.call(), &asked.plainly())
}

/// Up to eight rules, at lines 1, 2, ….
pub(super) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    prop::collection::vec(any_rule(), 0..8).prop_map(|rules| {
        let place = |(line, rule): (u64, Rule)| Rule {
            id: format!("r{line}"),
            location: Location { line, ..rule.location.clone() },
            ..rule
        };
        (1..).zip(rules).map(place).collect()
    })
}

pub(super) fn any_rule() -> impl Strategy<Value = Rule> {
    let lists = (
        select(vec!["allow", "deny"]),
        select(vec!["*", "*", "editor-api", "batch-cleaner,oncall", "*-*", "on*", "?n*l?", "nobody"]),
        select(vec!["*", "mpc:*:delete", DELETE, DELETE, CREATE, "mpc:*,x", "nothing"]),
        select(vec!["*", "*", "media-prod", "media-*", "1111", "2222,media-prod", "*1*", "222?", "nowhere"]),
        prop::collection::vec(job_glob(), 1..4).prop_map(|globs| globs.join(",")),
    );
    let expires = select(vec!["", "", "", " until 2027-01-15", " until 2027-01-16", " until 2027-01-14"]);
    let mode = select(vec!["", "", "", " observe"]);
    (lists, expires, mode, prop_oneof![2 => Just(Condition::default()), 1 => condition()]).prop_map(
        |((effect, callers, actions, projects, jobs), expires, mode, condition)| {
            let text = format!("{effect} {callers} {actions} {projects} {jobs}{expires}{mode}");
            Rule { condition, ..rule(&text, 0) }
        },
    )
}

/// One or two tests.
pub(super) fn condition() -> impl Strategy<Value = Condition> {
    prop::collection::vec(any_test(), 1..3).prop_map(Condition::new)
}

fn any_test() -> impl Strategy<Value = Test> {
    let date = (
        select(vec!["LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"]),
        select(vec!["2027-01-15", "2027-01-15T08:00:00+08:00,2020-01-01", "2027-01-16", "2030-01-01"]),
    );
    let networks = "10.0.0.0/8 10.2.3.4,::1 ::ffff:10.0.0.0/104 ::/0 0.0.0.0/0 2001:db8::/32";
    let switch = select(vec!["true", "false", "true,false"]);
    let any_key = select(Key::ALL.map(Key::as_str).to_vec());
    let written = prop_oneof![
        4 => on_the_call(),
        2 => date.prop_map(|(how, values)| format!("Date{how}SUFFIX g:CurrentTime {values}")),
        2 => (select(vec!["", "Not"]), words(networks))
            .prop_map(|(not, values)| format!("{not}IpAddressSUFFIX g:SourceIp {values}")),
        1 => switch.clone().prop_map(|values| format!("BoolSUFFIX proxy:Listener {values}")),
        6 => on_the_job(),
        1 => (any_key, switch).prop_map(|(key, values)| format!("Null {key} {values}")),
    ];
    (written, select(vec!["", "", "IfExists"]))
        .prop_map(|(text, suffix)| test(&text.replace("SUFFIX", suffix)))
}

fn on_the_call() -> impl Strategy<Value = String> {
    let values =
        "app App,mesh a* ? 1111 * bearer,a [a],ab? ${proxy:Caller} a,${proxy:Listener} ${*},x${$} ${?}*";
    (
        words("Equals NotEquals EqualsIgnoreCase NotEqualsIgnoreCase Match NotMatch"),
        words("mpc:ProjectId mpc:JobId proxy:Listener proxy:IdentifiedBy proxy:Caller"),
        words(values),
    )
        .prop_map(|(how, key, values)| format!("String{how}SUFFIX {key} {values}"))
}

fn on_the_job() -> impl Strategy<Value = String> {
    let word =
        "editor-api/1 ${proxy:Caller}/* a*,ON* * ${mpc:ProjectId}:x,oncall/x a${*} ?/${proxy:Listener}";
    let parts = "mpc:EditType mpc:InputBucket mpc:OutputBucket mpc:InputObject mpc:OutputObject";
    let several = prop_oneof![
        (words("mpc:Input mpc:Output"), words("b/x b/* */x,c/y b/${proxy:Caller}/x")),
        (words(parts), words("b ?,c x b,x,y")),
    ];
    prop_oneof![
        2 => (words("Equals NotEquals EqualsIgnoreCase Match NotMatch"), words(word))
            .prop_map(|(how, values)| format!("String{how}SUFFIX mpc:UserData {values}")),
        1 => (words("Equals NotEquals Match"), words("WAITING FAILED,INIT"))
            .prop_map(|(how, values)| format!("String{how}SUFFIX mpc:JobStatus {values}")),
        3 => (words("All All Any"), words("Equals NotEquals Match NotMatch EqualsIgnoreCase"), several)
            .prop_map(|(over, how, (key, values))| {
                let over = if over == "All" { "ForAllValues" } else { "ForAnyValue" };
                format!("{over}:String{how}SUFFIX {key} {values}")
            }),
    ]
}

fn words(texts: &'static str) -> impl Strategy<Value = &'static str> + Clone {
    select(texts.split(' ').collect::<Vec<_>>())
}

/// Uses few letters, so that patterns often match.
pub(super) fn job_glob() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[ab*]{1,6}", 2 => "[ab*?]{1,6}", 1 => Just("*".to_owned()), 1 => "[ab]{1,3}\\*"]
}

pub(super) fn asked() -> impl Strategy<Value = OwnedCall> {
    let call = (
        select(vec!["editor-api", "batch-cleaner", "oncall", "stranger"]),
        select(vec!["media-prod", "media-test", "media-prod", "media-test", "1111", "elsewhere"]),
        prop_oneof![4 => "[ab]{1,6}", 2 => Just("create".to_owned()), 1 => Just("view".to_owned())],
    );
    let facts = (
        select(vec!["", "at=2027-01-14T23:59:59Z", "at=2027-01-15T00:00:00.001Z", "at=2027-01-16"]),
        select(vec!["", "ip=10.2.3.4", "ip=::ffff:10.2.3.4", "ip=11.0.0.1", "ip=::1", "ip=2001:db8::1"]),
        select(vec!["", "listener=app", "listener=APP", "listener=true", "listener=mesh"]),
        select(vec!["", "by=bearer", "by=listener"]),
    );
    (call, facts, known_values()).prop_map(|((caller, project, job), (at, ip, listener, by), told)| {
        OwnedCall::parse(&format!("{caller} {project} {job} {at} {ip} {listener} {by}")).knowing(told)
    })
}

/// Generates some or all facts of a job.
pub(super) fn known_values() -> impl Strategy<Value = Vec<(Key, Vec<String>)>> {
    let texts = |texts: &[&str]| -> Vec<Option<Vec<String>>> {
        let unknown = texts.len() / 3;
        texts.iter().map(|text| Some(list(text))).chain(std::iter::repeat_n(None, unknown)).collect()
    };
    let objects = ["", "b/x", "b/x,c/y", "c/y,b/editor-api/x", "b/oncall/x,b/z", "B/X"];
    let facts = (
        select(texts(&["", "editor-api/1", "oncall/x", "a*", "1111:x", "app"])),
        select(texts(&["", "WAITING", "FAILED", "PROCESSING"])),
        select(texts(&["", "b", "b,c", "x"])),
        select(texts(&objects)),
        select(texts(&objects)),
    );
    facts.prop_map(|(user_data, status, edit_type, input, output)| {
        let all = [
            (Key::UserData, user_data),
            (Key::JobStatus, status),
            (Key::EditType, edit_type),
            (Key::Input, input),
            (Key::Output, output),
        ];
        all.into_iter().filter_map(|(key, values)| Some((key, values?))).collect()
    })
}
