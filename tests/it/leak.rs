//! Secrets never show in any answer, record, log line at any level, metric or probe, whatever goes wrong.
//!
//! Marked secrets are planted everywhere, every failure is provoked, and all output
//! is searched.

use std::fs::{self, File};

use mpc_auth_proxy::{
    secret::Secret,
    testserver::{AccessKey, Fault, Options},
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    blocked::{flood, patient},
    broken,
    harness::{
        Answer, Held, PROJECT, Process, Proxy, Scripted, Setup, Wire, cancel, certificate, cloud, request,
        small_pipe, wait_for,
    },
    hostile,
};

#[test]
fn no_refusal_shows_a_secret() {
    for setup in [with_key(), with_token()] {
        let proxy = setup.start();
        let mut said = Vec::new();
        for bytes in hostile::refused() {
            for listener in ["app", "team"] {
                let marked = bytes.replacen("\r\n\r\n", &format!("\r\n{}\r\n", OF_THE_CALLER.concat()), 1);
                said.extend([proxy.send_to(listener, &bytes), proxy.send_to(listener, marked)]);
            }
        }
        for line in OF_THE_CALLER.iter().chain(&[
            "Authorization: Bearer MARKED-wrong-bearer-token\r\n",
            "Authorization: MARKED-no-bearer-token\r\n",
            "Proxy_Authorization: Bearer MARKED-respelled-token\r\n",
        ]) {
            said.push(proxy.send_to("team", request("DELETE", TARGET, &[line.trim_end()])));
        }
        said.push(proxy.send_to("team", request("DELETE", "/v2/other/editing/jobs/1", &[BEARER])));
        assert!(said.iter().all(|answer| answer.status >= 400));
        proxy.upstream_saw(0);
        shows_nothing(&proxy, &said);
    }
}

#[test]
fn no_answer_of_the_cloud_shows_a_secret() {
    for setup in [with_key(), with_token()] {
        let proxy = setup.start();
        let mut said = vec![
            proxy.send_to("team", request("DELETE", TARGET, &[BEARER])),
            proxy.send(request("DELETE", TARGET, &OF_THE_CALLER.map(str::trim_end))),
        ];
        assert_eq!([said[0].status, said[1].status], [204, 403]);
        for fault in [
            Fault::Unauthorized,
            Fault::Throttled { retry_after_s: 9 },
            Fault::InternalError,
            Fault::Unavailable,
            Fault::Reset,
            Fault::LoseAnswer,
            Fault::TokenRevoked,
        ] {
            proxy.cloud().set_faults([fault.once()]);
            said.push(proxy.send(cancel("100211")));
        }
        // The gateway repeats the canonical request of a rejected signature.
        proxy.cloud().revoke_tokens();
        proxy.cloud().put_access_key(AccessKey { secret: Secret::new("another"), ..key() });
        said.push(proxy.send(cancel("100211")));
        assert_eq!(said.last().unwrap().status, 401);
        shows_nothing(&proxy, &said);
    }
}

#[test]
fn no_misbehaviour_of_upstream_makes_it_show_a_secret() {
    let all = broken::answers::all();
    let count = all.len();
    let upstream = broken::playing(all);
    // Every failure must occur.
    let section =
        "upstream: { attempt_timeout: 300ms, connect_timeout: 200ms, breaker: { failures: 1000000 } }";
    let proxy = with_key().upstream(&upstream.url()).section(section).start();
    let said: Vec<Answer> =
        (0..count).map(|number| proxy.send(cancel(&format!("{number}-broken")))).collect();
    assert!(said.iter().all(|answer| answer.status != 503));
    shows_nothing(&proxy, &said);
}

#[test]
fn no_failed_connection_shows_a_secret() {
    let (_, tls) = certificate("mpc.other.example");
    let untrusted = with_key().with_cloud(cloud(Options { tls: Some(tls), ..Options::default() }));
    for setup in [with_key().upstream("http://127.0.0.1:1"), untrusted] {
        let proxy = setup.start();
        let said = [proxy.send(cancel("100211"))];
        said[0].is_refusal(502, "PROXY.UpstreamUnreachable");
        shows_nothing(&proxy, &said);
    }
}

#[test]
fn a_credential_that_upstream_repeats_is_shown_in_no_place() {
    for setup in [with_key as fn() -> Setup, with_token] {
        for place in [
            "HTTP/1.1 401 {}\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 401 No\r\nX-Request-Id: {}\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 401 No\r\nX-Request-Id: a-{}-b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 401 No\r\nRetry-After: {}\r\nSet-Cookie: {}\r\nConnection: {}\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 401 No\r\n\r\n{\"error_code\":\"{}\",\"error_msg\":\"no\"}",
            "HTTP/1.1 401 No\r\n\r\n{\"error_code\":\"APIGW.0301\",\"error_msg\":\"no {}\"}",
            "HTTP/1.1 401 No\r\n\r\n<html>{}</html>",
            "HTTP/1.1 401 No\r\n\r\n{\"error_code\":\"x\",\"error_msg\":\"no {escaped}\"}",
            "HTTP/1.1 204 No\r\nX-Request-Id: {}\r\n\r\n",
            "HTTP/1.1 302 No\r\nLocation: http://{}\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 {} {}\r\n\r\n",
            "{}\r\n\r\n",
        ] {
            let upstream = Scripted::start(move |_, peer| {
                let Some(head) = peer.request() else { return };
                let secret = head.lines().find_map(|line| line.split_once(": MARKED")).unwrap().1;
                let secret = format!("MARKED{secret}");
                let escaped: String = secret.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
                peer.write(place.replace("{}", &secret).replace("{escaped}", &escaped));
            });
            let proxy = setup().upstream(&upstream.url()).start();
            let said = [proxy.send(cancel("100211"))];
            upstream.saw(1);
            let decoded: Option<Value> = serde_json::from_str(&said[0].body).ok();
            assert!(!format!("{decoded:?}").contains("MARKED"), "{said:?}");
            shows_nothing(&proxy, &said);
        }
    }
}

#[test]
fn a_credential_that_cannot_be_used_is_not_shown() {
    for (file, text) in [
        ("sk", "MARKED secret\tkey"),
        ("sk", "MARKED\nsecret-key"),
        ("ak", "MARKED,access-key"),
        ("ak", "MARKED access-key"),
        ("st", "MARKED security token"),
        ("token", "MARKED user token"),
        ("token", "MARKED\u{e9}"),
    ] {
        let setup = if file == "token" { with_token() } else { with_key() };
        if file == "token" {
            let proxy = with_token().start();
            proxy.write(file, text);
            wait_for("problem", || (proxy.probe("/status").body.contains("has no valid ")).then_some(()));
            // The last good one stays in force.
            let said = [proxy.send(cancel("100211"))];
            assert_eq!(said[0].status, 204);
            shows_nothing(&proxy, &said);
        }
        let setup = setup.file(file, text);
        let output = setup.run("run");
        assert_eq!(output.status.code(), Some(78));
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(told.contains(" has no valid ") && !told.contains("MARKED"), "{told}");
    }
}

/// Answers and cut-off answers by an upstream that repeats what it is sent.
#[test]
fn nothing_that_is_said_while_it_stops_shows_a_secret() {
    for setup in [with_key as fn() -> Setup, with_token] {
        for (timeout, code) in [("60s", 0), ("1s", 3)] {
            let held = repeating();
            let section = format!("drain: {{ timeout: {timeout} }}");
            let mut proxy = setup().upstream(&held.url()).section(&section).start();
            let mut wires: Vec<Wire> = (0..5).map(|_| proxy.connect()).collect();
            let marked = request("DELETE", TARGET, &OF_THE_CALLER.map(str::trim_end));
            wires.iter_mut().for_each(|wire| wire.write(&marked));
            held.has(3);
            proxy.signal_and_wait(Signal::SIGTERM, "draining");
            let mut said = String::new();
            if code == 0 {
                held.let_go();
                said = format!("{:?}", wires.iter_mut().map(Wire::answer).collect::<Vec<_>>());
            }
            assert_eq!(proxy.ended().code(), Some(code));
            proxy.audit(5);
            holds_none([said, proxy.printed(), proxy.log()]);
        }
    }
}

/// Records that could not be written go to the log.
#[test]
fn no_record_that_is_lost_at_the_end_shows_a_secret() {
    let held = repeating();
    let setup = patient(with_key(), &held).section("drain: { timeout: 200ms }");
    let log = setup.path("log");
    let (reader, writer) = small_pipe();
    let mut proxy = Process::start(setup, writer, File::create(&log).unwrap());
    let mut wire = proxy.dial("proxy.sock");
    wire.write(request("DELETE", TARGET, &OF_THE_CALLER.map(str::trim_end)));
    held.has(1);
    flood(&proxy, 20);
    held.let_go();
    let said = wire.answer();
    assert_eq!((said.status, proxy.stop()), (401, Some(3)));
    drop(reader);
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("cannot write a call's record to the audit sink"), "{log}");
    holds_none([format!("{said:?}"), String::new(), log]);
}

/// Waits, then repeats what it was sent.
fn repeating() -> Held {
    Held::answering(|head| {
        let body = json!({ "error_code": "APIGW.0301", "error_msg": head }).to_string();
        let length = body.len();
        format!("HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
    })
}

/// Searches all output, including the probes' answers.
fn shows_nothing(proxy: &Proxy, said: &[Answer]) {
    proxy.audit(said.len());
    let probes = ["/metrics", "/status", "/readyz?verbose", "/version"].map(|probe| proxy.probe(probe));
    holds_none([format!("{said:?}{probes:?}"), proxy.printed(), proxy.log()]);
}

/// Searches answers, standard output and the log.
fn holds_none(texts: [String; 3]) {
    let everything = texts.map(|text| text.replace("\\/", "/"));
    for (text, from) in everything.iter().zip(["answers", "standard output", "standard error"]) {
        for marked in ["MARKED", ACCESS_KEY, &hex::encode(Sha256::digest(BEARER_TOKEN))] {
            if let Some(at) = text.find(marked) {
                let end = text.len().min(at + 200);
                panic!("{marked} on {from}: {}", text.get(at.saturating_sub(300)..end).unwrap_or(text));
            }
        }
    }
}

/// Signs with a temporary key whose every part is marked, except the access key, of which four letters are shown.
fn with_key() -> Setup {
    marked()
        .file("ak", ACCESS_KEY)
        .file("sk", "MARKED-secret-key")
        .file("st", "MARKED/security-token")
        .credential("{ files: { access_key: ak, secret_key: sk, security_token: st } }")
}

fn with_token() -> Setup {
    let setup = marked().file("token", "MARKED-user-token").credential("{ token_file: { path: token } }");
    setup.cloud().accept_token(Secret::new("MARKED-user-token"), PROJECT);
    setup
}

/// A listener with and one without bearer tokens, and a log of everything.
fn marked() -> Setup {
    Setup::new()
        .with_cloud(cloud(Options { access_keys: vec![key()], ..Options::default() }))
        .file("oncall.sha256", &hex::encode(Sha256::digest(BEARER_TOKEN)))
        .with_team()
        .everything_allowed()
        .argument("--log-level=trace")
}

fn key() -> AccessKey {
    AccessKey {
        security_token: Some(Secret::new("MARKED/security-token")),
        ..AccessKey::permanent(ACCESS_KEY, "MARKED-secret-key", PROJECT)
    }
}

const TARGET: &str = "/v2/media-prod/editing/jobs/100211";
const ACCESS_KEY: &str = "MARKACCESSKEY0000001";
const BEARER_TOKEN: &str = "MARKED-bearer-token-0123456789";
const BEARER: &str = "Authorization: Bearer MARKED-bearer-token-0123456789";
const OF_THE_CALLER: [&str; 6] = [
    "Cookie: session=MARKED\r\n",
    "X-Auth-Token: MARKED\r\n",
    "X-Security-Token: MARKED\r\n",
    "X-Sdk-Date: MARKED\r\n",
    "traceparent: MARKED\r\n",
    "X-MARKED: MARKED\r\n",
];
