//! The clock, files and addresses of the machine that the proxy is to run on.

use std::{fs, os::unix::fs::PermissionsExt};

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::Found;
use crate::{credentials::Remote, harness::Setup};

#[test]
fn a_clock_that_is_off_is_told() {
    let setup = Setup::new();
    for (minutes, status, code, message) in [
        (0, "ok", 0, "its clock agrees with the cloud's"),
        (10, "warn", 0, "its clock is 10 min behind; signatures use the cloud's"),
        (-10, "warn", 0, "its clock is 10 min ahead"),
        (20, "fail", 1, "20 min behind; signatures use the cloud's, corrected by at most a day"),
    ] {
        // One more second, so that latency does not make it 9 min 59 s.
        setup
            .cloud()
            .set_clock_offset(TimeDelta::minutes(minutes) + TimeDelta::seconds(minutes.signum() * 20));
        let found = Found::by(&setup);
        found.says("clock", status, (message, if status == "ok" { "" } else { "NTP" }));
        assert_eq!(found.1, code);
    }
}

#[test]
fn an_agency_is_asked_for_by_the_clouds_clock() {
    let setup = Remote::named("agency").setup(3600);
    setup.cloud().set_clock_offset(TimeDelta::minutes(-20));
    let found = Found::by(&setup);
    assert_eq!(found.named("credential", "prod")["status"], "ok", "{:#}", found.0);
    assert_eq!(setup.cloud().bad_signatures("BASEACCESSKEY0000001").unwrap().failures, 0);
}

#[test]
fn files_that_others_can_read_or_change_are_told() {
    let setup = Setup::new();
    let mode =
        |name: &str, mode| fs::set_permissions(setup.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("sk", 0o644);
    mode("policy.yaml", 0o666);
    let found = Found::by(&setup);
    assert_eq!(found.1, 0, "they are warnings");
    found.says("configuration", "warn", ("is valid, with ", "read them: mpc-auth-proxy check --config"));
    for (name, exposed, hint) in [
        (
            "sk",
            true,
            json!(format!(
                "readable or writable by group or others: chmod 600 {} (in Kubernetes: `defaultMode: 0400`)",
                setup.path("sk").display()
            )),
        ),
        ("ak", false, Value::Null),
        (
            "policy.yaml",
            true,
            json!(format!("world-writable: chmod o-w {}", setup.path("policy.yaml").display())),
        ),
        ("proxy.yaml", false, Value::Null),
    ] {
        let file = found.named("file", setup.path(name).to_str().unwrap());
        assert_eq!((&file["facts"]["exposed"], &file["hint"]), (&json!(exposed), &hint), "{file:#}");
        assert_eq!(file["status"], if exposed { "warn" } else { "ok" });
    }
    let facts = &found.named("file", setup.path("sk").to_str().unwrap())["facts"];
    assert_eq!((&facts["mode"], &facts["secret"]), (&json!("0644"), &json!(true)));
    let age = facts["age_seconds"].as_i64().unwrap();
    assert!((0..600).contains(&age), "{age}");
}

#[test]
fn files_that_only_the_environment_names_are_looked_at() {
    let setup = Remote::named("pod_identity").setup(3600);
    fs::set_permissions(setup.path("pod-token"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = Found::by(&setup);
    let file = found.named("file", setup.path("pod-token").to_str().unwrap());
    assert_eq!((&file["facts"]["secret"], &file["facts"]["exposed"]), (&json!(true), &json!(true)));
}

#[test]
fn places_where_nothing_can_be_made_are_told() {
    let setup = Setup::new()
        .listeners(&["{ name: app, bind: 127.0.0.1:0 }", "{ name: here, bind: 'unix:app.sock' }"])
        .section("admin: { bind: 'unix:nowhere/admin.sock' }")
        .section("audit: { sink: audit.log }")
        .section("limits: { connections: 1000000 }")
        .file("app.sock", "no socket");
    let found = Found::by(&setup);
    let at = |check: &str, name: &str| found.named(check, setup.path(name).to_str().unwrap());
    assert_eq!(at("socket", "app.sock")["message"], "there is not a socket");
    let admin = at("socket", "nowhere/admin.sock");
    assert!(admin["message"].as_str().unwrap().contains("No such file"), "{admin:#}");
    assert!(admin["hint"].as_str().unwrap().contains("RuntimeDirectory"), "{admin:#}");
    assert_eq!(at("audit", "audit.log")["status"], "ok");
    found.says("limits", "warn", ("of 1000000 connections", "LimitNOFILE"));
    assert!(!setup.path("audit.log").exists(), "nothing is made");
    assert_eq!(found.1, 1);
}
