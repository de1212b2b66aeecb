//! Metrics by caller and by rule, whose series begin and end with the policy.
//!
//! There is one series per rule and a few per caller, never one per pair. Names that a new policy still has go on counting;
//! a caller that it no longer has is `_unknown`.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use foldhash::HashMap;
use parking_lot::RwLock;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::Counter},
};

use crate::{
    audit::{Outcome, Record},
    identity::CallerId,
    limit::Scope,
    policy::{Decision, Effect, Mode, NO_RULE, Policy, Rule},
};

/// The counters of the policy in force.
#[derive(Clone, Debug)]
pub(super) struct PolicyMetrics(Arc<ArcSwap<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    callers: HashMap<Arc<str>, Arc<CallerCounts>>,
    unknown: Arc<CallerCounts>,
    rules: HashMap<Arc<str>, RuleCounts>,
    /// The denials without a rule.
    no_rule: RuleCounts,
    projects: HashMap<Arc<str>, Counter>,
    outcomes_of_gone: [u64; OUTCOMES.len()],
}

#[derive(Debug, Default)]
struct CallerCounts {
    outcomes: [Counter; OUTCOMES.len()],
    limited: Counter,
    /// The requests, by kind. A series begins with the first request.
    requests: RwLock<HashMap<Request, Counter>>,
}

#[derive(Clone, Debug, Default)]
struct RuleCounts {
    effect: &'static str,
    mode: &'static str,
    count: Counter,
}

/// The labels of a caller's requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    listener: Arc<str>,
    caller: Arc<str>,
    action: &'static str,
    outcome: &'static str,
    code: u16,
}

impl PolicyMetrics {
    /// Creates the counters without a policy, for these listeners and projects.
    pub(super) fn new(listeners: &[Arc<str>], projects: &[Arc<str>]) -> Self {
        let unknown = Arc::new(CallerCounts::default());
        for listener in listeners {
            for code in UNIDENTIFIED_STATUSES {
                let (listener, outcome) = (Arc::clone(listener), Outcome::Refused.as_str());
                let request = Request { listener, caller: UNKNOWN.into(), action: UNKNOWN, outcome, code };
                drop(unknown.of_kind(request));
            }
        }
        let projects = projects.iter().map(|name| (Arc::clone(name), Counter::default())).collect();
        Self(Arc::new(ArcSwap::from_pointee(Counts { unknown, projects, ..Counts::default() })))
    }

    /// Creates the series of this policy, and removes those of names that it does not have.
    pub(super) fn follow(&self, callers: &[CallerId], policy: &Policy) {
        let before = self.0.load();
        let caller = |caller: &CallerId| {
            let name = caller.shared();
            let counts = before.callers.get(&name).cloned().unwrap_or_default();
            (name, counts)
        };
        let rule = |rule: &Rule| {
            let mode = if rule.mode == Mode::Observe { rule.mode } else { policy.mode() };
            let fresh = RuleCounts::new(rule.effect, mode);
            (Arc::from(rule.id.as_str()), fresh.after(before.rules.get(rule.id.as_str())))
        };
        let callers: HashMap<_, _> = callers.iter().map(caller).collect();
        let mut outcomes_of_gone = before.outcomes_of_gone;
        for (_, ended) in before.callers.iter().filter(|(name, _)| !callers.contains_key(*name)) {
            outcomes_of_gone.iter_mut().zip(&ended.outcomes).for_each(|(sum, count)| *sum += count.get());
        }
        self.0.store(Arc::new(Counts {
            outcomes_of_gone,
            callers,
            unknown: Arc::clone(&before.unknown),
            rules: policy.rules().iter().map(rule).collect(),
            no_rule: RuleCounts::new(Effect::Deny, policy.mode()).after(Some(&before.no_rule)),
            projects: before.projects.clone(),
        }));
    }

    /// Counts a finished request.
    pub(super) fn finished(&self, record: &Record) {
        let counts = self.0.load();
        let known = record.caller.as_ref().and_then(|caller| counts.callers.get_key_value(caller));
        let (caller, counts) = match known {
            Some((caller, counts)) => (Arc::clone(caller), counts),
            None => (UNKNOWN.into(), &counts.unknown),
        };
        let outcome = record.outcome.unwrap_or(Outcome::Abandoned).as_str();
        let of_outcome = OUTCOMES.iter().zip(&counts.outcomes).find(|(each, _)| each.as_str() == outcome);
        if let Some((_, count)) = of_outcome {
            count.inc();
        }
        let (listener, code) = (Arc::clone(&record.listener), record.status.unwrap_or(0));
        let action = record.action.unwrap_or(UNKNOWN);
        counts.of_kind(Request { listener, caller, action, outcome, code }).inc();
    }

    /// Returns the number of requests by outcome, under all policies.
    pub(super) fn outcomes(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.load();
        let mut sums = counts.outcomes_of_gone;
        for caller in counts.callers.values().chain([&counts.unknown]) {
            sums.iter_mut().zip(&caller.outcomes).for_each(|(sum, count)| *sum += count.get());
        }
        OUTCOMES.iter().map(|outcome| outcome.as_str()).zip(sums).collect()
    }

    /// Counts a decision, and what a rule under observation would have decided.
    pub(super) fn decided(&self, decision: &Decision<'_>) {
        let counts = self.0.load();
        let of = |rule: &Rule| counts.rules.get(rule.id.as_str());
        let decided = decision.rule.map_or(Some(&counts.no_rule), of);
        for rule in decided.into_iter().chain(decision.observed.rule().and_then(of)) {
            rule.count.inc();
        }
    }

    /// Counts a call that was over a limit.
    pub(super) fn rate_limited(&self, scope: Scope, caller: &CallerId, project: &Arc<str>) {
        let counts = self.0.load();
        let count = match scope {
            Scope::Caller | Scope::DeniedLookups => {
                counts.callers.get(caller.as_str()).map(|caller| &caller.limited)
            }
            Scope::Project => counts.projects.get(project),
        };
        if let Some(count) = count {
            count.inc();
        }
    }
}

impl CallerCounts {
    fn of_kind(&self, request: Request) -> Counter {
        let known = self.requests.read().get(&request).cloned();
        known.unwrap_or_else(|| self.requests.write().entry(request).or_default().clone())
    }
}

impl RuleCounts {
    /// Creates the counters of a rule with this effect and mode.
    fn new(effect: Effect, mode: Mode) -> Self {
        let mode = match mode {
            Mode::Enforce => mode.as_str(),
            Mode::Observe => effect.observed(),
        };
        Self { effect: effect.as_str(), mode, count: Counter::default() }
    }

    /// Continues from the previous values.
    fn after(self, before: Option<&Self>) -> Self {
        before
            .filter(|before| (before.effect, before.mode) == (self.effect, self.mode))
            .cloned()
            .unwrap_or(self)
    }
}

impl Collector for PolicyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.load();
        let unknown: Arc<str> = UNKNOWN.into();
        let callers = || counts.callers.iter().chain([(&unknown, &counts.unknown)]);
        let counter = MetricType::Counter;

        let mut family = encoder.encode_descriptor("requests", "Completed requests", None, counter)?;
        for (_, caller) in callers() {
            for (request, count) in &*caller.requests.read() {
                count.encode(family.encode_family(request)?)?;
            }
        }
        let help = "Completed requests, by caller";
        let mut family = encoder.encode_descriptor("caller_requests", help, None, counter)?;
        for (name, caller) in callers() {
            for (outcome, count) in OUTCOMES.iter().zip(&caller.outcomes) {
                let labels = [("caller", &**name), ("outcome", outcome.as_str())];
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        let mut family = encoder.encode_descriptor("decisions", "Policy decisions", None, counter)?;
        let no_rule: Arc<str> = NO_RULE.into();
        for (id, rule) in counts.rules.iter().chain([(&no_rule, &counts.no_rule)]) {
            let labels = [("rule", &**id), ("effect", rule.effect), ("mode", rule.mode)];
            rule.count.encode(family.encode_family(&labels)?)?;
        }
        let mut family = encoder.encode_descriptor("rate_limited", "Calls over a limit", None, counter)?;
        let callers = counts.callers.iter().map(|(name, caller)| ("caller", name, &caller.limited));
        let projects = counts.projects.iter().map(|(name, count)| ("project", name, count));
        for (scope, name, count) in callers.chain(projects) {
            count.encode(family.encode_family(&[("scope", scope), ("name", &**name)])?)?;
        }
        Ok(())
    }
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Forwarded, Outcome::Refused, Outcome::Unknown, Outcome::Abandoned, Outcome::Failed];
const UNIDENTIFIED_STATUSES: [u16; 5] = [400, 401, 403, 421, 503];

/// The caller or action of a request that was refused before either was known.
pub(super) const UNKNOWN: &str = "_unknown";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus_client::{encoding::text::encode, registry::Registry};
    use proptest::{prelude::*, sample::subsequence};

    use super::*;
    use crate::{
        audit::Record,
        clock,
        policy::{Condition, Glob, Location, Observed, Scope as Project},
    };

    fn caller(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    /// Returns a policy with these rules for all callers. `-` marks a deny rule, `o` one under observation.
    fn policy(rules: &[&str]) -> Policy {
        let any = || vec![Glob::parse("*").unwrap()];
        let rule = |id: &&str| Rule {
            id: (*id).into(),
            effect: if id.contains('-') { Effect::Deny } else { Effect::Allow },
            callers: any(),
            actions: any(),
            projects: any(),
            jobs: any(),
            condition: Condition::default(),
            expires: None,
            mode: if id.contains('o') { Mode::Observe } else { Mode::Enforce },
            location: Location { file: "policy.yaml".into(), line: 1 },
            reason: None,
        };
        let project = Project { name: "p".into(), id: "1".into() };
        Policy::new(rules.iter().map(rule).collect(), &CALLERS.map(caller), &[project], "hash")
    }

    fn follow(counts: &PolicyMetrics, callers: &[&str], rules: &[&str]) {
        counts.follow(&callers.iter().map(|name| caller(name)).collect::<Vec<_>>(), &policy(rules));
    }

    fn finish(counts: &PolicyMetrics, caller: &str) {
        let mut record = Record::new("id".into(), "app".into(), "10.2.3.4".into(), clock::now());
        (record.caller, record.outcome, record.status) =
            (Some(caller.into()), Some(Outcome::Forwarded), Some(204));
        record.action = Some("mpc:editingTask:delete");
        counts.finished(&record);
    }

    fn decide(counts: &PolicyMetrics, policy: &Policy, rule: &str) {
        let rule = policy.rules().iter().find(|each| each.id == rule).unwrap();
        let decision = Decision {
            effect: rule.effect,
            rule: Some(rule),
            mode: Mode::Enforce,
            observed: Observed::Nothing,
        };
        counts.decided(&decision);
    }

    fn text(counts: &PolicyMetrics) -> String {
        let (mut registry, mut out) = (Registry::default(), String::new());
        registry.register_collector(Box::new(counts.clone()));
        encode(&mut out, &registry).unwrap();
        out
    }

    /// Returns the values of a label.
    fn named(text: &str, label: &str) -> BTreeSet<String> {
        let values = text.lines().filter_map(|line| line.split_once(&format!("{label}=\"")));
        values.filter_map(|(_, rest)| Some(rest.split_once('"')?.0.to_owned())).collect()
    }

    const CALLERS: [&str; 4] = ["ann", "bob", "cy", "dee"];
    const RULES: [&str; 5] = ["r1", "r2-", "r3o", "r4-o", "r5"];

    #[test]
    fn a_series_begins_and_ends_with_the_policy_that_names_it_and_goes_on_between() {
        let counts = PolicyMetrics::new(&["app".into()], &["p".into()]);
        follow(&counts, &["ann", "bob"], &["r1", "r2-"]);
        decide(&counts, &policy(&["r1"]), "r1");
        finish(&counts, "ann");
        counts.rate_limited(Scope::Caller, &caller("ann"), &"p".into());
        let series = [
            "decisions_total{rule=\"r1\",effect=\"allow\",mode=\"enforce\"} 1",
            "decisions_total{rule=\"r2-\",effect=\"deny\",mode=\"enforce\"} 0",
            "decisions_total{rule=\"_default\",effect=\"deny\",mode=\"enforce\"} 0",
            "caller_requests_total{caller=\"ann\",outcome=\"forwarded\"} 1",
            "caller_requests_total{caller=\"bob\",outcome=\"forwarded\"} 0",
            "caller_requests_total{caller=\"_unknown\",outcome=\"refused\"} 0",
            "rate_limited_total{scope=\"caller\",name=\"ann\"} 1",
            "rate_limited_total{scope=\"project\",name=\"p\"} 0",
            "requests_total{listener=\"app\",caller=\"ann\",action=\"mpc:editingTask:delete\",\
             outcome=\"forwarded\",code=\"204\"} 1",
        ];
        let now = text(&counts);
        series.iter().for_each(|series| assert!(now.contains(&format!("{series}\n")), "{series} in {now}"));
        assert!(!now.contains("requests_total{listener=\"app\",caller=\"bob\""), "{now}");

        follow(&counts, &["ann"], &["r1", "r5"]);
        let now = text(&counts);
        for series in [series[0], series[3], series[6], series[8]] {
            assert!(now.contains(&format!("{series}\n")), "{series} in {now}");
        }
        follow(&counts, &["bob"], &["r5"]);
        follow(&counts, &["ann"], &["r1"]);
        let now = text(&counts);
        assert!(now.contains(&format!("{}0\n", series[0].trim_end_matches('1'))), "{now}");
    }

    #[test]
    fn what_the_policy_no_longer_names_is_counted_as_unknown_or_not_at_all() {
        let counts = PolicyMetrics::new(&["app".into()], &[]);
        follow(&counts, &["ann"], &["r1"]);
        decide(&counts, &policy(&["r5"]), "r5");
        finish(&counts, "bob");
        let now = text(&counts);
        assert!(!now.contains("bob") && !now.contains("r5"), "{now}");
        assert!(
            now.contains("caller_requests_total{caller=\"_unknown\",outcome=\"forwarded\"} 1\n"),
            "{now}"
        );
    }

    #[test]
    fn what_became_of_requests_is_not_forgotten_with_their_callers() {
        let counts = PolicyMetrics::new(&["app".into()], &[]);
        for callers in [&["ann", "bob"][..], &["bob"], &[], &["ann"]] {
            follow(&counts, callers, &[]);
            ["ann", "bob"].iter().for_each(|caller| finish(&counts, caller));
        }
        assert_eq!(counts.outcomes()[0], ("forwarded", 8));
    }

    #[test]
    fn many_callers_and_rules_are_told_in_as_many_lines() {
        let counts = PolicyMetrics::new(&["app".into(), "mesh".into()], &[]);
        let callers: Vec<CallerId> = (0..100).map(|n| caller(&format!("service-{n}"))).collect();
        let rules: Vec<String> = (0..500).map(|n| format!("rule-{n}")).collect();
        let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        counts.follow(&callers, &policy(&rules));
        let text = text(&counts);
        // Five outcomes and a limit for each caller, one line for each rule.
        let (lines, most) = (text.lines().count(), 101 * 6 + 501 + 40);
        assert!(lines <= most && text.len() <= most * 128, "{lines} lines, {} bytes", text.len());
    }

    proptest! {
        #[test]
        fn reloads_leave_no_series_of_what_is_gone_and_count_everything(
            reloads in prop::collection::vec(
                (subsequence(CALLERS.to_vec(), 0..4), subsequence(RULES.to_vec(), 0..5)), 1..6,
            ),
        ) {
            let counts = PolicyMetrics::new(&["app".into()], &["p".into()]);
            let all = policy(&RULES);
            for (callers, rules) in &reloads {
                follow(&counts, callers, rules);
                RULES.iter().for_each(|rule| decide(&counts, &all, rule));
                CALLERS.iter().for_each(|caller| finish(&counts, caller));
                let text = text(&counts);
                let expected = |names: &[&str], other: &str| -> BTreeSet<String> {
                    names.iter().copied().chain([other]).map(String::from).collect()
                };
                prop_assert_eq!(named(&text, "rule"), expected(rules, "_default"));
                prop_assert_eq!(named(&text, "caller"), expected(callers, "_unknown"));
            }
        }
    }
}
