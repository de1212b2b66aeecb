//! Rate limits: callers and projects are held to their limits and told the right time to retry.

use std::{
    sync::{Mutex, mpsc::channel},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::harness::{Answer, Proxy, Scripted, Setup, TOKEN, cancel, request, wait_for};

#[test]
fn a_caller_has_its_burst_and_is_then_told_when_to_come_back() {
    let proxy = Setup::new().policy(&policy("limits: { rate: 12/min, burst: 2 }")).start();
    for _ in 0..2 {
        forwarded(&proxy, proxy.send(cancel("none")));
    }
    let answer = proxy.send(cancel("none"));
    is_limited(
        &proxy,
        &answer,
        "caller limit reached: its `limits` in the policy, or its share of `limits.in_flight`",
    );
    // The promised time is right.
    let seconds = answer.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    thread::sleep(Duration::from_secs(seconds));
    forwarded(&proxy, proxy.send(cancel("none")));
    let metrics = proxy.probe("/metrics").body;
    assert!(
        metrics.contains("mpc_auth_proxy_rate_limited_total{scope=\"caller\",name=\"editor-api\"} 1"),
        "{metrics}"
    );
}

#[test]
fn another_callers_limit_is_its_own() {
    let setup = Setup::new().with_team().policy(&policy("limits: { rate: 1/h }"));
    let proxy = setup.start();
    forwarded(&proxy, proxy.send(cancel("none")));
    is_limited(
        &proxy,
        &proxy.send(cancel("none")),
        "caller limit reached: its `limits` in the policy, or its share of `limits.in_flight`",
    );
    for _ in 0..3 {
        forwarded(&proxy, proxy.send_to("team", oncall()));
    }
}

/// If open files are scarce, the limit in effect is below the configured one, and shares are shares of it.
#[test]
fn one_caller_leaves_room_for_others_also_where_the_limits_are_lowered() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            // Until the test lets go of its end.
            assert!(released.lock().unwrap().recv().is_err());
            peer.write("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let setup = Setup::new().with_team().upstream(&upstream.url()).open_files(400).policy(&policy(""));
    let proxy = setup.start();
    let fit = proxy
        .logged("too few file descriptors for `limits`: lowered; raise the open-files limit (LimitNOFILE)");
    let in_flight = usize::try_from(fit["in_flight"].as_u64().unwrap()).unwrap();
    assert!(in_flight < 100, "{fit}");
    let mut wires: Vec<_> = (0..in_flight).map(|_| proxy.connect()).collect();
    wires.iter_mut().for_each(|wire| wire.write(cancel("none")));
    let over = in_flight - in_flight / 2;
    let limited =
        format!("mpc_auth_proxy_rate_limited_total{{scope=\"caller\",name=\"editor-api\"}} {over}\n");
    wait_for("calls over the share", || proxy.probe("/metrics").body.contains(&limited).then_some(()));
    let mut other = proxy.connect_to("team");
    other.write(oncall());
    drop(release);
    assert_eq!(other.answer().status, 204);
    let statuses: Vec<u16> = wires.iter_mut().map(|wire| wire.answer().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), over, "{statuses:?}");
}

#[test]
fn all_callers_share_the_projects_quota() {
    let setup = Setup::new().with_team().project("rate_limit: 2/h").policy(&policy(""));
    let proxy = setup.start();
    forwarded(&proxy, proxy.send(cancel("none")));
    forwarded(&proxy, proxy.send_to("team", oncall()));
    let text = "project rate limit reached";
    is_limited(&proxy, &proxy.send(cancel("none")), text);
    is_limited(&proxy, &proxy.send_to("team", oncall()), text);
    proxy.upstream_saw(2);
}

#[test]
fn a_call_that_may_not_be_made_uses_up_no_quota() {
    let setup = Setup::new().with_team().project("rate_limit: 1/h").policy(&policy(""));
    let proxy = setup.start();
    for _ in 0..3 {
        proxy.send_to("team", cancel("none")).is_refusal(401, "PROXY.Unauthenticated");
        proxy.send(cancel("denied-1")).is_refusal(403, "PROXY.Forbidden");
    }
    forwarded(&proxy, proxy.send(cancel("none")));
}

fn forwarded(proxy: &Proxy, answer: Answer) {
    assert_eq!(answer.json()["error_code"], "MPC.10211", "{answer:?}");
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
}

fn is_limited(proxy: &Proxy, answer: &Answer, text: &str) {
    answer.is_refusal(429, "PROXY.RateLimited");
    assert_eq!(answer.error_msg(), text);
    assert!(answer.header("retry-after").parse::<u64>().unwrap() > 0);
    proxy.record(answer).says(json!({
        "outcome": "refused", "error.type": "PROXY.RateLimited", "policy.effect": "allow", "upstream.attempts": 0,
    }));
}

fn oncall() -> String {
    request("DELETE", "/v2/media-prod/editing/jobs/none", &[&format!("Authorization: Bearer {TOKEN}")])
}

fn policy(limits: &str) -> String {
    format!(
        "version: 1
callers:
  editor-api:
    identify: [ {{ listener: app }} ]
    {limits}
  oncall: {{ identify: [ {{ bearer: {{ sha256_file: oncall.sha256 }} }} ] }}
rules:
  - {{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
  - {{ id: not-these, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['denied-*'] }}
"
    )
}
