//! Facts of jobs in projects, records and rules.

use super::*;
use crate::audit::RecordedFacts;

#[test]
fn jobs_are_looked_up_by_v1_and_recorded_whole_unless_something_else_is_said() {
    let said = |directory: &Directory| {
        let Settings { projects, audit, .. } = load(&directory.path("proxy.yaml")).unwrap().settings;
        (projects[0].lookup_form, projects[0].stamp_owner, audit.facts)
    };
    let directory = Directory::valid();
    assert_eq!(said(&directory), (LookupForm::V1, false, RecordedFacts::Values));
    directory.change(
        "proxy.yaml",
        "credential: prod\n",
        "credential: prod\n    lookup_form: v2\n    stamp_owner: true\n",
    );
    directory.change("proxy.yaml", "audit: { ", "audit: { facts: names, ");
    assert_eq!(said(&directory), (LookupForm::V2, true, RecordedFacts::Names));
}

#[test]
fn a_caller_has_limits_for_each_action() {
    let directory = Directory::valid();
    let limits = "listener: app } ]\n    limits: { per_action: { mpc:editingTask:create: 100/day, mpc:editingTask:view: 2/s } }\n";
    directory.change("policy.yaml", "listener: app } ]\n", limits);
    let settings = load(&directory.path("proxy.yaml")).unwrap().settings;
    let (_, limits) = &settings.caller_limits[0];
    let told: Vec<(&str, u32, u64)> = limits
        .per_action
        .iter()
        .map(|(action, rate)| (*action, rate.count.get(), rate.per.as_secs()))
        .collect();
    assert_eq!(told, [("mpc:editingTask:create", 100, 86_400), ("mpc:editingTask:view", 2, 1)]);
    assert_eq!((limits.rate, limits.in_flight), (None, None));
}

#[test]
fn a_fact_that_cannot_be_looked_up_is_told_where_jobs_are_looked_up() {
    const RULE: &str =
        "    jobs: [\"*\"]\n    condition: { OVERStringMatch: { KEY: [\"${proxy:Caller}/*\"] } }\n";
    for (over, key, actions, form, told) in [
        ("'ForAnyValue:", "mpc:Input", "mpc:editingTask:delete", "v2", true),
        ("'ForAllValues:", "mpc:OutputBucket", "mpc:*", "v2", true),
        ("'ForAllValues:", "mpc:EditType", "mpc:editingTask:view", "v2", true),
        ("'ForAnyValue:", "mpc:Input", "mpc:editingTask:create", "v2", false),
        ("'ForAnyValue:", "mpc:Input", "mpc:editingTask:delete", "v1", false),
        ("'", "mpc:UserData", "mpc:editingTask:delete", "v2", false),
    ] {
        let directory = Directory::valid();
        let value = if key == "mpc:OutputBucket" { "out-${proxy:Caller}" } else { "${proxy:Caller}/*" };
        let rule = RULE.replace("OVERStringMatch", &format!("{over}StringMatch'")).replace("KEY", key);
        directory.change("policy.yaml", "    jobs: [\"*\"]\n", &rule.replace("${proxy:Caller}/*", value));
        directory.change("policy.yaml", "[mpc:editingTask:delete]", &format!("['{actions}']"));
        directory.change(
            "proxy.yaml",
            "credential: prod\n",
            &format!("credential: prod\n    lookup_form: {form}\n"),
        );
        let report = directory.report();
        let found = report.contains(&format!("error: `{key}` is never known for mpc:editingTask:"));
        assert_eq!(found, told, "{key} {actions} {form}\n{report}");
        assert_eq!(report.contains("error"), told, "{report}");
    }
}
