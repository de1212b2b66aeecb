//! Neither load nor a wrong clock gets a key locked, and a repaired credential is used at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread::sleep,
    time::Duration,
};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use mpc_auth_proxy::{
    clock,
    testserver::{AccessKey, JobState, Options},
};
use serde_json::json;

use super::{at_once, call, cancels, harness::wait_for, metric, status};
use crate::harness::{ACCESS_KEY, Proxy, SECRET_KEY, Scripted, Setup, cancel, cloud, request};

/// Answers each request by this function of the number of those before.
fn answering(answer: impl Fn(usize) -> &'static str + Send + Sync + 'static) -> Scripted {
    let count = AtomicUsize::new(0);
    Scripted::start(
        move |_, peer| {
            while peer.request().is_some() && peer.write(answer(count.fetch_add(1, Relaxed))) {}
        },
    )
}

#[test]
fn a_key_that_was_believed_and_goes_bad_is_refused_three_times_and_no_more() {
    for crowd in [30, 200] {
        let upstream = answering(|before| {
            if before < 2 {
                return DONE;
            }
            // With a distant upstream all calls arrive before the first answer.
            sleep(Duration::from_millis(150));
            REFUSED
        });
        let proxy = Setup::new().upstream(&upstream.url()).start();
        assert_eq!([call(&proxy).status, call(&proxy).status], [204, 204]);
        let answers = at_once(&proxy, crowd);
        assert_eq!(answers.iter().filter(|answer| answer.status == 401).count(), 3);
        for answer in answers.iter().filter(|answer| answer.status != 401) {
            answer.is_refusal(503, "PROXY.NoCredential");
            assert!(answer.header("retry-after").parse::<u64>().unwrap() > 200, "{answer:?}");
        }
        upstream.saw(2 + 3);
        let ready = proxy.probe("/readyz").with_status(503);
        assert!(ready.body.contains("suspended: upstream rejected its signatures"), "{}", ready.body);
    }
}

#[test]
fn a_crowd_with_a_good_key_is_carried_out_however_far_upstream_is() {
    let upstream = answering(|_| {
        sleep(Duration::from_millis(20));
        DONE
    });
    let proxy = Setup::new().upstream(&upstream.url()).start();
    assert!(at_once(&proxy, 200).iter().all(|answer| answer.status == 204));
    upstream.saw(200);
}

#[test]
fn what_says_nothing_of_the_signature_takes_no_refusal_back() {
    for other in [
        "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 429 Later\r\nContent-Length: 29\r\n\r\n{\"error_code\": \"APIGW.0308\" }\n",
        "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 404 No\r\nContent-Length: 28\r\n\r\n{\"error_code\":\"APIGW.0101\" }\n",
        "HTTP/1.1 302 Go\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    ] {
        let upstream = answering(move |before| if before % 3 == 2 { other } else { REFUSED });
        let proxy = Setup::new().upstream(&upstream.url()).start();
        let statuses: Vec<u16> = (0..30).map(|_| proxy.send(cancel("100211")).status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 3, "{other}: {statuses:?}");
        // Two refusals, an inconclusive answer, and the third refusal.
        upstream.saw(4);
    }
}

#[test]
fn what_mpc_itself_says_takes_refusals_back() {
    let known = "HTTP/1.1 403 No\r\nContent-Length: 27\r\n\r\n{\"error_code\":\"MPC.10211\" }\n";
    let upstream = answering(move |before| if before % 3 == 2 { known } else { REFUSED });
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let statuses: Vec<u16> = (0..12).map(|_| proxy.send(cancel("100211")).status).collect();
    assert_eq!(statuses, [401, 401, 403].repeat(4));
}

#[test]
fn refusals_are_counted_over_all_endpoints_of_a_key() {
    let (one, other) = (answering(|_| REFUSED), answering(|_| REFUSED));
    let proxy = Setup::new().upstream(&one.url()).another_project("far", &other.url()).start();
    for _ in 0..10 {
        proxy.send(cancel("100211"));
        proxy.send(request("DELETE", "/v2/far/editing/jobs/100211", &[]));
    }
    assert_eq!(one.heads().len() + other.heads().len(), 3);
}

#[test]
fn calls_whose_answers_are_lost_give_their_places_back() {
    let upstream = Scripted::start(|_, peer| {
        peer.request();
        peer.wait_until_closed();
    });
    let section = "upstream: { attempt_timeout: 200ms, connect_timeout: 200ms, breaker: { failures: 1000 } }";
    let proxy = Setup::new().upstream(&upstream.url()).section(section).start();
    let answers = at_once(&proxy, 12);
    answers.iter().for_each(|answer| answer.is_refusal(504, "PROXY.UpstreamTimeout"));
    upstream.saw(12);
}

#[test]
fn calls_that_wait_for_answers_too_long_are_told_when_to_come_back() {
    let upstream = Scripted::start(|_, peer| {
        peer.request();
        peer.wait_until_closed();
    });
    let section = "limits: { request_deadline: 2s }";
    let proxy = Setup::new().upstream(&upstream.url()).section(section).start();
    let answers = at_once(&proxy, 8);
    let waited: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(waited.len(), 5, "{answers:#?}");
    for answer in waited {
        answer.is_refusal(503, "PROXY.NoCredential");
        assert_eq!(answer.header("retry-after"), "1");
        proxy.record(answer).says(json!({ "upstream.attempts": 0, "outcome": "refused" }));
    }
    upstream.saw(3);
}

#[test]
fn a_clock_that_jumps_fails_no_call_of_a_crowd() {
    for seconds in [1500, -1500, 3600, -3600] {
        let proxy = Setup::new().start();
        assert_eq!([call(&proxy).status, call(&proxy).status], [204, 204]);
        proxy.cloud().set_clock_offset(TimeDelta::seconds(seconds));
        all_carried_out(&proxy, seconds);
        let refused = cancels(&proxy).iter().filter(|seen| seen.status == Some(401)).count();
        assert!((1..=3).contains(&refused), "{seconds}: {refused} dates were refused");
        // And when it is right again.
        proxy.cloud().set_clock_offset(TimeDelta::zero());
        all_carried_out(&proxy, seconds);
        assert_eq!(metric(&proxy, "mpc_auth_proxy_credential_held_back{credential=\"prod\"}"), 0.0);
        assert_eq!(proxy.probe("/readyz").status, 200);
        assert_eq!(call(&proxy).status, 204);
    }
}

fn all_carried_out(proxy: &Proxy, seconds: i64) {
    let answers = at_once(proxy, 30);
    assert!(answers.iter().all(|answer| answer.status == 204), "{seconds}: {answers:#?}");
}

#[test]
fn each_endpoint_has_its_own_clock() {
    let key = AccessKey::permanent(ACCESS_KEY, SECRET_KEY, "far-id");
    let far = cloud(Options { access_keys: vec![key], ..Options::default() });
    far.cloud().put_job("far-id", "100211", JobState::Waiting);
    far.cloud().set_clock_offset(TimeDelta::hours(1));
    let proxy = Setup::new().another_project("far", &far.url()).start();
    assert_eq!(proxy.send(request("DELETE", "/v2/far/editing/jobs/100211", &[])).status, 204);
    assert_eq!(call(&proxy).status, 204);
    let off = dated(cancels(&proxy)[0].header("x-sdk-date").unwrap()) - clock::now();
    assert!(off.abs() < TimeDelta::seconds(60), "{off}");
    let skew =
        |url: &str| metric(&proxy, &format!("mpc_auth_proxy_clock_skew_seconds{{endpoint=\"{url}\"}}"));
    assert!((skew(&far.url()) - 3600.0).abs() < 60.0);
    assert_eq!(skew(&proxy.endpoint()), 0.0);
}

/// An answer that accepted a date cannot come from a clock an hour away from it.
#[test]
fn the_date_of_something_on_the_way_teaches_nothing() {
    for answer in ["204 No Content", "503 Later\r\nContent-Length: 0", "429 Later\r\nContent-Length: 0"] {
        let date = (clock::now() + TimeDelta::hours(1)).format("%a, %d %b %Y %H:%M:%S GMT");
        let answer: &'static str = format!("HTTP/1.1 {answer}\r\nDate: {date}\r\n\r\n").leak();
        let upstream = answering(move |_| answer);
        let proxy = Setup::new().upstream(&upstream.url()).start();
        for _ in 0..2 {
            proxy.send(cancel("100211"));
        }
        for head in upstream.saw(2) {
            let date = head.lines().find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("x-sdk-date: ").map(str::to_uppercase)
            });
            let off = dated(&date.unwrap()) - clock::now();
            assert!(off.abs() < TimeDelta::seconds(60), "{answer}: {off}");
        }
        assert_eq!(metric(&proxy, "mpc_auth_proxy_clock_skew_seconds"), 0.0);
    }
}

fn dated(text: &str) -> DateTime<Utc> {
    NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").unwrap().and_utc()
}

#[test]
fn a_token_file_that_has_ended_is_told_until_it_is_replaced() {
    let proxy = Setup::new().file("token", "ended").credential("{ token_file: { path: token } }").start();
    assert_eq!(proxy.probe("/readyz").status, 200);
    for _ in 0..5 {
        let answer = call(&proxy);
        assert_eq!((answer.status, answer.json()["error_code"].as_str()), (401, Some("APIGW.0307")));
    }
    let told = "upstream reports this credential expired, and its source has no newer one: its calls fail until it changes";
    proxy.logged(told);
    assert_eq!(proxy.log().matches(told).count(), 1, "{}", proxy.log());
    let ready = proxy.probe("/readyz").with_status(503);
    assert!(
        ready.body.contains("[-] credential prod of project media-prod: expired, upstream says"),
        "{}",
        ready.body
    );
    let state = status(&proxy);
    assert_eq!(state["ready"], json!(false));
    assert!(state["problem"].as_str().unwrap().contains("401 APIGW.0307"), "{state}");
    let token = proxy.cloud().issue_token(crate::harness::PROJECT);
    proxy.write("token", &token);
    wait_for("readiness", || (proxy.probe("/readyz").status == 200).then_some(()));
    assert_eq!(call(&proxy).status, 204);
    assert_eq!(status(&proxy)["problem"], json!(null));
}

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const REFUSED: &str =
    "HTTP/1.1 401 Unauthorized\r\nContent-Length: 28\r\n\r\n{\"error_code\":\"APIGW.0301\" }\n";
