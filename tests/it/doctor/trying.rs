//! `--try-credentials` asks upstream whether it accepts the credential of each project, with one call each, and stops
//! once one was refused.

use std::process::Command;

use chrono::TimeDelta;
use mpc_auth_proxy::testserver::{Fault, Seen};
use serde_json::json;

use super::{Found, made_no_call};
use crate::harness::{ACCESS_KEY, PROJECT, Proxy, Setup, cancel, cloud, options};

const TRY: &str = "doctor --format json --try-credentials";

fn calls(all: &[Seen]) -> Vec<&Seen> {
    all.iter().filter(|seen| seen.target.contains("editing")).collect()
}

fn wrong_in_a_row(setup: &Setup) -> usize {
    setup.cloud().bad_signatures(ACCESS_KEY).unwrap().failures as usize
}

#[test]
fn without_a_proxy_it_signs_one_view_of_no_job() {
    let setup = Setup::new();
    Found::by(&setup);
    made_no_call(&setup);
    let found = Found::read(&setup.run(TRY));
    found.says("try", "ok", ("upstream accepts the credential (200)", ""));
    let tried = found.one("try");
    assert_eq!(
        tried["facts"],
        json!({ "by": "doctor", "believed": "yes", "sent": true, "status": 200, "error_code": null })
    );
    assert!(tried["details"][0].as_str().unwrap().contains("five invalid signatures"), "{tried}");
    let all = setup.cloud().requests();
    let [call] = *calls(&all) else { panic!("{all:#?}") };
    let target = format!("/v1/{PROJECT}/editing/jobs?job_id=no-such-job");
    assert_eq!((&*call.method, &*call.target), ("GET", &*target));
    assert!(call.header("authorization").is_some());
}

#[test]
fn a_refused_key_is_not_tried_again_for_another_project() {
    let setup = Setup::new().file("sk", "wrong-secret-key-of-no-account");
    let other = setup.endpoint().to_owned();
    let setup = setup.another_project("second", &other);
    let found = Found::read(&setup.run(TRY));
    let first = found.named("try", "media-prod");
    assert_eq!((&first["status"], &first["facts"]["error_code"]), (&json!("fail"), &json!("APIGW.0301")));
    assert!(first["hint"].as_str().unwrap().contains("one of five invalid signatures that lock the key"));
    let second = found.named("try", "second");
    assert!(second["message"].as_str().unwrap().contains("was just rejected"), "{second}");
    assert_eq!((found.1, wrong_in_a_row(&setup)), (1, 1));
}

#[test]
fn what_the_answer_says_is_told_and_nothing_more() {
    let tried = |setup: &Setup| Found::read(&setup.run(TRY));
    let setup = Setup::new();
    for (fault, status, message) in [
        (Fault::Unavailable, "warn", "does not show whether the credential is accepted (503"),
        (Fault::Throttled { retry_after_s: 1 }, "warn", "does not show whether"),
        (Fault::InternalError, "ok", "accepts the credential (500"),
        (Fault::LoseAnswer, "fail", "a call was sent, and got no answer"),
    ] {
        setup.cloud().clear_requests();
        // `HEAD /` comes first.
        setup.cloud().set_faults([Fault::LatencyMs(0).once(), fault.until_cleared()]);
        tried(&setup).says("try", status, (message, ""));
        setup.cloud().set_faults([]);
        assert_eq!(calls(&setup.cloud().requests()).len(), 1, "{fault:?}");
    }
    let setup = Setup::new().file("token", "MIIE").credential("{ token_file: { path: token } }");
    tried(&setup).says("try", "fail", ("the credential has expired (401", "renew"));
    let setup = Setup::new().file("sk", "");
    tried(&setup).says("try", "fail", ("not tried: no credential", "see "));
    assert_eq!(calls(&setup.cloud().requests()).len(), 0);
    // The endpoint has sent its time, so the date is right.
    let setup = Setup::new();
    setup.cloud().set_clock_offset(TimeDelta::hours(2));
    tried(&setup).says("try", "ok", ("accepts", ""));
}

fn with_admin(setup: Setup) -> Proxy {
    let admin = format!("admin: {{ bind: 'unix:{}' }}", setup.path("admin.sock").display());
    setup.section(&admin).start()
}

#[test]
fn a_proxy_that_runs_makes_the_call_and_records_who_asked() {
    let proxy = with_admin(Setup::new());
    let found = Found::read(&proxy.run(TRY));
    found.says("try", "ok", ("upstream accepts the credential (200)", ""));
    assert_eq!(found.one("try")["facts"]["by"], "proxy");
    let record = proxy.interventions(1).remove(0);
    record.says(json!({
        "operator.action": "try_credentials", "operator.project": "media-prod",
        "network.peer.address": format!("uid:{}", nix::unistd::getuid()),
    }));
    assert_eq!(calls(&proxy.cloud().requests()).len(), 1);
    // A freeze stops changes.
    assert!(proxy.run("freeze").status.success());
    Found::read(&proxy.run(TRY)).says("try", "ok", ("accepts", ""));
}

#[test]
fn a_proxy_that_runs_stops_before_tries_lock_the_key() {
    let proxy = with_admin(Setup::new().file("sk", "wrong-secret-key-of-no-account"));
    for _ in 0..3 {
        let found = Found::read(&proxy.run(TRY));
        found.says("try", "fail", ("rejects the credential's signature", "one of five"));
    }
    let held_back = Found::read(&proxy.run(TRY));
    held_back.says("try", "fail", ("no call was sent: ", "see "));
    assert_eq!(held_back.one("try")["facts"]["sent"], false);
    assert_eq!(calls(&proxy.cloud().requests()).len(), 3);
    proxy.send(cancel("100211")).is_refusal(503, "PROXY.NoCredential");
    let problems: Vec<_> =
        proxy.interventions(4).iter().map(|record| record.text("error.message").to_owned()).collect();
    assert!(problems[0].contains("(401 APIGW.0301)") && problems[3].starts_with("no call was sent"));
}

#[test]
fn a_socket_that_answers_otherwise_has_nothing_signed() {
    let proxy = with_admin(Setup::new());
    let config = std::fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    // Its project has another name there.
    let config = config.replace("media-prod", "media-test").replace("policy.yaml", "other-policy.yaml");
    proxy.write("other.yaml", &config);
    let policy = std::fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    proxy.write("other-policy.yaml", &policy.replace("media-prod", "media-test"));
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    doctor.env_clear().args(TRY.split(' ')).arg("--config").arg(proxy.path("other.yaml"));
    let found = Found::read(&doctor.output().unwrap());
    found.says("try", "fail", ("unknown project \"media-test\"", "see "));
    assert_eq!(calls(&proxy.cloud().requests()).len(), 0);
}

#[test]
fn an_upstream_that_is_away_is_told() {
    let gone = cloud(options());
    let url = gone.url();
    drop(gone);
    let found = Found::read(&Setup::new().upstream(&url).run(TRY));
    found.says("try", "fail", ("no call was sent: ", "see "));
}
