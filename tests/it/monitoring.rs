//! Alerts and dashboard match the program and the runbook. Prometheus' own checks are run by
//! `tests/deploy/parts/monitoring.sh`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use serde::Deserialize;

use crate::{
    harness::{Authority, Setup},
    runbook::anchor,
};

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    alert: String,
    expr: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

#[test]
fn each_alert_has_a_page_and_each_page_names_its_alerts() {
    let runbook = read("docs/RUNBOOK.md");
    let titles = runbook.lines().filter_map(|line| line.strip_prefix("## "));
    let pages: BTreeSet<String> = titles.map(anchor).collect();
    let mut alerts_of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for alert in alerts() {
        let url = &alert.annotations["runbook_url"];
        let page = url.strip_prefix("docs/RUNBOOK.md").unwrap_or_else(|| panic!("{}: {url}", alert.alert));
        assert!(pages.contains(page), "{}: {url} is no page", alert.alert);
        assert!(["critical", "warning", "info"].contains(&&*alert.labels["severity"]), "{}", alert.alert);
        assert!(["summary", "description"].iter().all(|text| !alert.annotations[*text].is_empty()));
        alerts_of.entry(page.to_owned()).or_default().insert(alert.alert);
    }
    for row in runbook.lines().filter(|line| line.starts_with("| ")) {
        let page = pages.iter().find(|page| row.contains(&format!("]({page})")));
        let Some(page) = page else { continue };
        let named =
            row.split('`').filter(|word| word.starts_with("MpcAuthProxy")).map(String::from).collect();
        assert_eq!(alerts_of.remove(page).unwrap_or_default(), named, "the row of {page}");
    }
    assert!(alerts_of.is_empty(), "in no row: {alerts_of:?}");
}

#[test]
fn each_alert_is_tested() {
    let tests = read("deploy/monitoring/rules_test.yaml");
    for Alert { alert, .. } in alerts() {
        let silent = format!("alertname: {alert}, exp_alerts: []");
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels:");
        assert!(tests.contains(&silent) && tests.contains(&fires), "{alert}");
    }
}

#[test]
fn what_is_asked_for_is_what_is_told() {
    // Some only exist for listeners with TLS.
    let metrics = Setup::new().mesh(&Authority::new()).start().probe("/metrics").body;
    let told: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, _)| name)
        .collect();
    let dashboard = read("deploy/monitoring/dashboard.json");
    let rules: String = alerts().into_iter().map(|alert| alert.expr + "\n").collect();
    let asked: BTreeSet<&str> = names(&rules).chain(names(&dashboard)).collect();
    for name in &asked {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let family = family.filter(|family| told.contains(family)).unwrap_or(name);
        assert!(told.contains(family), "there is no metric {name}: {told:#?}");
    }
    let shown: BTreeSet<&str> = names(&dashboard).collect();
    // A metric without a query is not looked at.
    let unused: Vec<&&str> = told
        .iter()
        .filter(|name| !shown.contains(**name) && !shown.contains(&*format!("{name}_bucket")))
        .collect();
    assert!(unused.is_empty(), "the dashboard shows nothing of {unused:?}");
}

fn alerts() -> Vec<Alert> {
    let rules: Rules = serde_yaml::from_str(&read("deploy/monitoring/rules.yaml")).unwrap();
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// The metrics that a text names.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("mpc_auth_proxy_"))
}

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}
