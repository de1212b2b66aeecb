//! While it stops: callers that connect during the delay or wait in the backlog, and calls in flight.

use std::thread;

use nix::sys::signal::Signal;
use rustls::version::TLS13;
use serde_json::{Value, json};

use super::{CLEANER, MESH, POLICY, Waiting, nothing_is_stolen, send_cases, status, stop, with_tls};
use crate::{
    harness::{Authority, Client, Held, Proxy, Setup, TOKEN, Wanted, Wire, cancel, request, wait_for},
    loopback::{ATTACKER, ask_as, is_root, take_over},
    settle::{denied, hash, in_halves, last_line, policy},
    shutdown::pause,
};

#[test]
fn whoever_comes_during_the_delay_is_judged_as_ever() {
    let authority = Authority::new();
    let listeners = [
        "{ name: app, bind: 127.0.0.1:0, bearer: true }",
        &format!("{{ name: mesh, bind: 127.0.0.1:0, {MESH}"),
    ];
    let setup = with_tls(Setup::new().listeners(&listeners), &authority);
    let limited = "{ sha256_file: oncall.sha256 } } ], limits: { rate: 1/h }";
    let setup = setup.policy(&POLICY.replace("{ sha256_file: oncall.sha256 } } ]", limited));
    let mut proxy = setup.section(DELAY).start();
    stop(&proxy);
    for (case, mut wire) in send_cases(1, || proxy.connect()) {
        case.is_answered(&wire.answer());
    }
    // Its time-out has been running all the time.
    let token = format!("Authorization: Bearer {TOKEN}");
    let call = request("DELETE", "/v2/media-prod/editing/jobs/none", &[&token]);
    proxy.send(&call).is_refusal(429, "PROXY.RateLimited");
    let ask = |holder| Client { trusts: &authority, shows: Some(holder), version: &TLS13 };
    let foreign = Authority::new().issue(Wanted::caller().uri(CLEANER));
    let more = (0..48).map(|_| authority.issue(Wanted::caller()));
    let many = authority.issue(Wanted::caller().uri(CLEANER)).showing(more);
    for holder in [&foreign, &many] {
        assert!(ask(holder).ask(&proxy, "mesh", cancel("none")).is_err());
    }
    proxy.logged("TLS handshake failed");
    let long = "more than 4 intermediate certificates";
    wait_for("second reason in the log", || proxy.log().contains(long).then_some(()));
    let right = authority.issue(Wanted::caller().uri(CLEANER));
    proxy.expect_records(1);
    assert_eq!(ask(&right).ask(&proxy, "mesh", cancel("none")).unwrap().answer().status, 403);
    assert_eq!(status(&proxy)["draining"], true);
    // One of the cases, and this one.
    proxy.upstream_saw(2);
    ends_at_once(&mut proxy);
}

#[test]
fn whoever_waits_in_the_queue_when_it_stops_is_judged_as_ever() {
    let mut proxy = Setup::new()
        .listeners(&["{ name: app, bind: 127.0.0.1:0, bearer: true }"])
        .policy(POLICY)
        .start()
        .records_elsewhere();
    pause(&proxy);
    let waiting = send_cases(8, || proxy.dial("app"));
    let address = proxy.address("app").parse().unwrap();
    let users = if is_root() { 20 } else { 0 };
    let victims: Vec<Wire> = (0..users).map(|_| take_over(address)).collect();
    // And with a port of their own.
    let attackers: Vec<Wire> = (0..users)
        .map(|_| Wire::new(ask_as(ATTACKER, ([127, 0, 0, 1], 0).into(), address, "stolen").unwrap()))
        .collect();
    proxy.signal(Signal::SIGTERM);
    proxy.signal(Signal::SIGCONT);
    for (case, mut wire) in waiting {
        case.is_answered(&wire.answer());
    }
    for mut victim in victims {
        assert_eq!(victim.answer().json()["error_code"], "MPC.10211");
    }
    for mut attacker in attackers {
        attacker.answer().is_refusal(401, "PROXY.Unauthenticated");
    }
    assert_eq!(proxy.ended().code(), Some(0));
    nothing_is_stolen(&proxy);
    proxy.upstream_saw(8 + users);
}

#[test]
fn calls_that_wait_for_a_credential_are_not_sent_once_they_are_frozen() {
    let mut waiting = Waiting::calls(30, "freeze_file: freeze");
    stop(&waiting.proxy);
    waiting.freeze();
    for answer in waiting.answers() {
        answer.is_refusal(503, "PROXY.Frozen");
    }
    assert_eq!(waiting.proxy.ended().code(), Some(0));
    waiting.nothing_was_sent();
}

#[test]
fn calls_that_wait_for_a_credential_are_decided_by_the_policy_that_is_in_force_then() {
    for (effect, code) in [("deny", "PROXY.Forbidden"), ("allow", "MPC.10211")] {
        let mut waiting = Waiting::calls(30, "");
        stop(&waiting.proxy);
        let before = hash(&waiting.proxy);
        let policy = format!(
            "version: 1
callers: {{ editor-api: {{ identify: [ {{ listener: app }} ] }} }}
rules: [ {{ id: later, effect: {effect}, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }} ]
"
        );
        waiting.proxy.write("policy.yaml", &policy);
        let after = wait_for("another policy", || Some(hash(&waiting.proxy)).filter(|hash| *hash != before));
        for answer in waiting.answers() {
            assert_eq!(answer.json()["error_code"], code);
        }
        assert_eq!(waiting.proxy.ended().code(), Some(0));
        for record in waiting.proxy.audit(30) {
            record.says(json!({ "policy.rule": "later", "policy.effect": effect, "policy.hash": after }));
        }
        if effect == "deny" {
            waiting.nothing_was_sent();
        }
    }
}

#[test]
fn half_a_policy_is_not_in_force() {
    let mut proxy = Setup::new().policy(&policy("first")).section(DELAY).start();
    let before = hash(&proxy);
    stop(&proxy);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let path = proxy.path("policy.yaml");
            in_halves(&path, &policy("second"), last_line(), || proxy.signal(Signal::SIGHUP));
        });
        while !writer.is_finished() {
            denied(&proxy);
        }
        wait_for("new policy", || {
            denied(&proxy);
            (hash(&proxy) != before).then_some(())
        });
    });
    assert_eq!(status(&proxy)["draining"], true);
    proxy.upstream_saw(0);
    ends_at_once(&mut proxy);
}

#[test]
fn a_key_that_is_refused_three_times_is_not_tried_again() {
    let refused = "HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 28\r\n\r\n{\"error_code\":\"APIGW.0301\" }\n";
    let held = Held::answering(|_| refused.into());
    let mut proxy = Setup::new().upstream(&held.url()).start();
    let mut wires: Vec<Wire> = (0..30).map(|_| proxy.connect()).collect();
    wires.iter_mut().for_each(|wire| wire.write(cancel("none")));
    held.has(3);
    wait_for("calls under way", || {
        proxy.probe("/metrics").body.contains("mpc_auth_proxy_in_flight_requests 30\n").then_some(())
    });
    stop(&proxy);
    held.let_go();
    let mut statuses: Vec<u16> = wires.iter_mut().map(|wire| wire.answer().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [&[401; 3][..], &[503; 27]].concat());
    assert_eq!(proxy.ended().code(), Some(0));
    held.upstream().saw(3);
}

/// Nor if the policy has changed by then.
#[test]
fn no_call_gets_anothers_answer() {
    let held = Held::answering(|head| {
        let job = head.split_once("/jobs/").unwrap().1.split_once(' ').unwrap().0;
        let body = json!({ "error_code": "MPC.10211", "error_msg": job }).to_string();
        let length = body.len();
        format!("HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
    });
    // A token, because a key would allow only three signatures at once.
    let mut proxy = Setup::new()
        .file("token", "MIIE")
        .credential("{ token_file: { path: token } }")
        .upstream(&held.url())
        .start();
    let mut wires: Vec<Wire> = (0..64).map(|_| proxy.connect()).collect();
    for (job, wire) in wires.iter_mut().enumerate() {
        wire.write(cancel(&format!("job-{job}")));
    }
    held.has(64);
    stop(&proxy);
    let before = hash(&proxy);
    let text = std::fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    proxy.write("policy.yaml", &format!("{text}# again\n"));
    wait_for("another policy", || (hash(&proxy) != before).then_some(()));
    held.let_go();
    for (job, wire) in wires.iter_mut().enumerate() {
        let answer = wire.answer();
        assert_eq!((answer.status, answer.error_msg()), (403, format!("job-{job}")));
    }
    assert_eq!(proxy.ended().code(), Some(0));
    held.upstream().saw(64);
}

#[test]
fn the_audit_file_is_its_own_until_it_has_ended() {
    let held = Held::answering(|_| "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into());
    let setup = Setup::new().upstream(&held.url()).section("audit: { sink: audit.log }");
    let log = setup.path("audit.log");
    let mut proxy = setup.start().records_elsewhere();
    let mut wire = proxy.sending(cancel("none"));
    held.has(1);
    stop(&proxy);
    let next = || Setup::new().section(&format!("audit: {{ sink: {} }}", log.display()));
    let output = next().run("run");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{error}");
    held.let_go();
    assert_eq!((wire.answer().status, proxy.ended().code()), (204, Some(0)));
    let records = std::fs::read_to_string(&log).unwrap();
    assert_eq!(records.lines().count(), 1, "{records}");
    // And the next one's from then on.
    assert_eq!(next().start().records_elsewhere().send(cancel("none")).status, 403);
}

/// The credential comes after the drain has ended.
#[test]
fn calls_that_wait_when_the_time_is_over_are_not_sent() {
    let mut waiting = Waiting::calls(30, "drain: { timeout: 1s }");
    waiting.proxy.signal(Signal::SIGTERM);
    assert_eq!(waiting.proxy.ended().code(), Some(3));
    waiting.agent.let_go();
    for record in waiting.proxy.audit(30) {
        record.says(json!({
            "outcome": "abandoned", "upstream.attempts": 0, "http.response.status_code": Value::Null,
        }));
    }
    waiting.proxy.upstream_saw(0);
}

/// It would wait for the whole delay.
fn ends_at_once(proxy: &mut Proxy) {
    wait_for("end", || {
        proxy.signal(Signal::SIGTERM);
        proxy.log().contains("asked again").then_some(())
    });
    assert_eq!(proxy.ended().code(), Some(3));
}

const DELAY: &str = "drain: { delay: 120s }";
