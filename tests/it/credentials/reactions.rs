//! Reactions to what upstream says of a credential: it is renewed, suspended, or dated by another clock.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use mpc_auth_proxy::{
    clock,
    secret::Secret,
    testserver::{AccessKey, Fault, MetadataMode, Seen, Service, User},
};
use serde_json::json;

use super::{MARKED, Remote, at_once, call, cancels, harness::wait_for, metric, status};
use crate::harness::{ACCESS_KEY, PROJECT, SECRET_KEY, Setup};

#[test]
fn a_user_token_that_died_is_renewed_and_the_call_sent_once_more() {
    let source = Remote::named("iam_password");
    let proxy = source.setup(3600).start();
    assert_eq!(call(&proxy).status, 204);
    proxy.cloud().revoke_tokens();
    let answer = call(&proxy).with_status(204);
    proxy.record(&answer).says(json!({ "upstream.attempts": 2, "outcome": "forwarded" }));
    assert_eq!((source.asked(&proxy), cancels(&proxy).len()), (2, 3));
}

#[test]
fn many_calls_with_a_token_that_died_are_one_fetch() {
    let source = Remote::named("iam_password");
    let proxy = source.setup(3600).start();
    assert_eq!(call(&proxy).status, 204);
    proxy.cloud().revoke_tokens();
    let answers = at_once(&proxy, 300);
    assert!(answers.iter().all(|answer| answer.status == 204), "{answers:#?}");
    assert_eq!(source.asked(&proxy), 2);
}

#[test]
fn a_token_that_is_refused_again_is_not_renewed_again() {
    let source = Remote::named("iam_password");
    let proxy = source.setup(3600).start();
    proxy.cloud().set_faults([Fault::TokenRevoked.until_cleared()]);
    let answer = call(&proxy);
    assert_eq!((answer.status, answer.json()["error_code"].as_str()), (401, Some("APIGW.0307")));
    proxy.record(&answer).says(json!({ "upstream.attempts": 2, "upstream.error_code": "APIGW.0307" }));
    assert_eq!(source.asked(&proxy), 2);
}

#[test]
fn a_temporary_key_that_ended_early_is_renewed_and_the_call_sent_once_more() {
    for name in ["pod_identity", "oidc", "agency"] {
        let source = Remote::named(name);
        let proxy = source.setup(3600).start();
        assert_eq!(call(&proxy).status, 204);
        proxy.cloud().revoke_temporary_keys();
        let answers = at_once(&proxy, 50);
        assert!(answers.iter().all(|answer| answer.status == 204), "{name}: {answers:#?}");
        assert_eq!(source.asked(&proxy), 2, "{name}");
    }
}

#[test]
fn a_key_that_upstream_refuses_is_held_back_before_it_is_locked() {
    let proxy = Setup::new().file("sk", "another-secret-key").start();
    let answers = at_once(&proxy, 40);
    let refused = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((refused, cancels(&proxy).len()), (3, 3), "no crowd gets past");
    for answer in answers.iter().filter(|answer| answer.status != 401) {
        answer.is_refusal(503, "PROXY.NoCredential");
        assert!(answer.error_msg().contains("five in a row lock the key"), "{answer:?}");
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((200..=300).contains(&seconds), "{seconds}");
    }
    proxy.logged("upstream rejected this credential's signatures three times in a row: suspended until it changes, or for as long as upstream would lock the key");
    assert_eq!(metric(&proxy, "mpc_auth_proxy_credential_held_back{credential=\"prod\"}"), 1.0);
    assert!(status(&proxy)["held_back_seconds"].as_u64().unwrap() > 200);

    // A new value starts with a clean state.
    proxy.write("sk", SECRET_KEY);
    wait_for("call that is believed", || (call(&proxy).status == 204).then_some(()));
    assert_eq!(metric(&proxy, "mpc_auth_proxy_credential_held_back{credential=\"prod\"}"), 0.0);
    assert_eq!(status(&proxy)["held_back_seconds"], json!(null));
}

#[test]
fn a_permanent_key_that_was_replaced_is_read_anew_and_the_call_sent_once_more() {
    let proxy = Setup::new().start();
    assert_eq!(call(&proxy).status, 204);
    let mut former = ACCESS_KEY.to_owned();
    for round in 0..5 {
        let id = format!("R{round:03}ACCESSKEY");
        let secret = format!("secret-{round}");
        proxy.cloud().put_access_key(AccessKey::permanent(&id, &secret, PROJECT));
        proxy.cloud().revoke_access_key(&former);
        proxy.write("ak", &id);
        proxy.write("sk", &secret);
        // Sooner than the change is noticed.
        let answers = at_once(&proxy, 20);
        for answer in answers {
            assert_eq!(answer.status, 204, "{answer:?}");
        }
        former = id;
    }
    assert!(cancels(&proxy).iter().any(|seen| seen.status == Some(401)), "none of them had the former key");
}

#[test]
fn bad_signatures_that_are_not_in_a_row_hold_nothing_back() {
    let proxy = Setup::new().start();
    for _ in 0..4 {
        proxy.cloud().set_faults([Fault::Unauthorized.times(2)]);
        let statuses = [(); 3].map(|()| call(&proxy).status);
        assert_eq!(statuses, [401, 401, 204]);
    }
}

#[test]
fn signatures_are_dated_by_the_clouds_clock() {
    for (minutes, attempts) in [(10, 1), (-10, 1), (20, 2), (-25, 2)] {
        let proxy = Setup::new().start();
        proxy.cloud().set_clock_offset(TimeDelta::minutes(minutes));
        let first = call(&proxy);
        assert_eq!(first.status, 204, "{minutes}: {first:?}");
        proxy.record(&first).says(json!({ "upstream.attempts": attempts }));
        assert_eq!(call(&proxy).status, 204);
        let seen = cancels(&proxy).pop().unwrap();
        let date =
            NaiveDateTime::parse_from_str(seen.header("x-sdk-date").unwrap(), "%Y%m%dT%H%M%SZ").unwrap();
        let date: DateTime<Utc> = date.and_utc();
        let off = date - clock::now() - TimeDelta::minutes(minutes.clamp(-15, 15));
        assert!(off.abs() < TimeDelta::seconds(60), "{minutes}: {off}");
        let skew = metric(&proxy, "mpc_auth_proxy_clock_skew_seconds");
        assert!((skew - minutes as f64 * 60.0).abs() < 60.0, "{minutes}: {skew}");
        let said = proxy.log().matches("this machine's clock differs from the cloud's").count();
        assert_eq!(said, 1, "{}", proxy.log());
    }
}

#[test]
fn a_wrong_password_is_tried_once_until_it_changes() {
    let proxy = Remote::named("iam_password").setup(3600).file("password", "wrong").start();
    for _ in 0..20 {
        call(&proxy).is_refusal(503, "PROXY.NoCredential");
    }
    let wrong = proxy.cloud().wrong_passwords("media", "mpc").unwrap();
    assert_eq!((wrong.failures, wrong.locked), (1, false));
    let problem = status(&proxy)["problem"].clone();
    assert!(problem.as_str().unwrap().contains("rejected the user name or password"), "{problem}");
    assert!(call(&proxy).header("retry-after").parse::<u64>().unwrap() > 600);
    proxy.write("password", &format!("{MARKED}-password"));
    wait_for("call with a token", || (call(&proxy).status == 204).then_some(()));
}

#[test]
fn a_password_that_changes_is_used_at_once() {
    let proxy = Remote::named("iam_password").setup(3600).start();
    assert_eq!(call(&proxy).status, 204);
    proxy.cloud().put_user(User {
        domain: "media".into(),
        name: "mpc".into(),
        password: Secret::new("changed"),
        project_id: PROJECT.into(),
    });
    proxy.write("password", "changed");
    wait_for("token for the new password", || {
        assert_eq!(call(&proxy).status, 204);
        let sent = cancels(&proxy);
        let token = |seen: Option<&Seen>| seen.unwrap().header("x-auth-token").map(str::to_owned);
        (token(sent.first()) != token(sent.last())).then_some(())
    });
}

#[test]
fn a_machine_without_an_agency_is_told_so() {
    let setup = Remote::named("metadata").setup(3600);
    setup.cloud().set_metadata_mode(MetadataMode::NoAgency);
    let proxy = setup.start();
    call(&proxy).is_refusal(503, "PROXY.NoCredential");
    assert_eq!(status(&proxy)["problem"], "this machine has no agency: set one in the ECS console");
    proxy.cloud().set_metadata_mode(MetadataMode::V2);
    wait_for("call with a key", || (call(&proxy).status == 204).then_some(()));
}

#[test]
fn a_metadata_session_that_ended_is_begun_anew() {
    let proxy = Remote::named("metadata").setup(2).start();
    assert_eq!(call(&proxy).status, 204);
    // All sessions of the service are over.
    proxy.cloud().set_clock_offset(TimeDelta::hours(7));
    proxy.cloud().set_lifetime(Service::Metadata, Some(TimeDelta::hours(8)));
    wait_for("second session", || {
        let all = proxy.cloud().requests();
        let sessions = all.iter().filter(|seen| seen.method == "PUT" && seen.status == Some(200));
        (sessions.count() >= 2).then_some(())
    });
}

#[test]
fn required_credentials_are_waited_for_and_missed_with_an_exit_code() {
    let source = Remote::named("pod_identity");
    let proxy = source.setup(3600).argument("--require-credentials").start();
    assert_eq!(call(&proxy).status, 204);
    let setup = source.setup(3600).argument("--require-credentials").file("pod-token", "wrong");
    let output = setup.run("run");
    assert_eq!(output.status.code(), Some(5));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("answered 401") && log.contains("required credentials are missing"), "{log}");
}

#[test]
fn a_source_that_hangs_keeps_the_proxy_from_nothing_but_its_calls() {
    let setup = Remote::named("pod_identity").setup(3600).section("limits: { request_deadline: 1s }");
    setup.cloud().set_faults([Fault::Hang.until_cleared().at(Service::PodIdentity)]);
    let proxy = setup.start();
    assert_eq!((proxy.probe("/livez").status, proxy.probe("/readyz").status), (200, 503));
    call(&proxy).is_refusal(503, "PROXY.NoCredential");
    proxy.cloud().set_faults([]);
    wait_for("call with a key", || (call(&proxy).status == 204).then_some(()));
}

#[test]
fn the_key_of_a_base_that_sts_refuses_is_held_back_too() {
    let source = Remote::named("agency");
    let proxy = source.setup(3600).file("base-sk", "wrong").start();
    for _ in 0..10 {
        call(&proxy).is_refusal(503, "PROXY.NoCredential");
    }
    wait_for("three tries", || (source.asked(&proxy) >= 3).then_some(()));
    wait_for("alarm", || {
        (metric(&proxy, "mpc_auth_proxy_credential_held_back{credential=\"base\"}") == 1.0).then_some(())
    });
    assert_eq!(source.asked(&proxy), 3);
    assert!(!proxy.cloud().bad_signatures("BASEACCESSKEY0000001").unwrap().locked);
}

#[test]
fn a_lock_that_others_caused_ends_with_one_try() {
    let proxy = Setup::new().start();
    proxy.cloud().put_access_key(AccessKey::permanent(ACCESS_KEY, SECRET_KEY, PROJECT));
    proxy.cloud().set_faults([Fault::Unauthorized.times(3)]);
    let statuses = [(); 5].map(|()| call(&proxy).status);
    assert_eq!(statuses, [401, 401, 401, 503, 503]);
    assert_eq!(cancels(&proxy).len(), 3);
}
