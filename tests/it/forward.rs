//! Responses from upstream: status, body and request id unchanged, and what the proxy adds.

use mpc_auth_proxy::testserver::{Fault, JobState, Options};
use serde_json::json;

use crate::harness::{PROJECT, Scripted, Setup, cancel, certificate, cloud, options, request, wait_for};

/// hyper flushes such a head before the body, which used to be lost.
#[test]
fn an_answer_whose_head_is_large_keeps_its_body() {
    let padding: String = (0..25).map(|n| format!("X-{n}: {}\r\n", "a".repeat(1000))).collect();
    let body = r#"{"error_code":"MPC.10211"}"#;
    let upstream = Scripted::answering(format!(
        "HTTP/1.1 403 No\r\n{padding}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.body.as_str()), (403, body));
    assert_eq!(answer.header("x-24").len(), 1000);
    proxy.record(&answer).says(json!({ "outcome": "forwarded", "upstream.error_code": "MPC.10211" }));
    upstream.saw(1);
}

#[test]
fn the_three_urls_cancel_the_same_job() {
    let proxy = Setup::new().start();
    for target in [
        "/v2/media-prod/editing/jobs/100211",
        "/v2/media-prod/editing/job?job_id=100211",
        "/v1/media-prod/editing/jobs?job_id=100211",
    ] {
        proxy.queue("100211");
        let answer = proxy.send(request("DELETE", target, &[]));
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{target}");
        assert_eq!(proxy.cloud().job_state(PROJECT, "100211"), None);
        proxy.record(&answer).says(json!({ "mpc.action": "mpc:editingTask:delete", "mpc.job_id": "100211" }));
    }
    proxy.upstream_saw(3);
}

#[test]
fn an_answer_is_passed_on_with_its_request_id_and_ours() {
    let proxy = Setup::new().start();
    let answer = proxy.send(cancel("100211"));
    let seen = proxy.upstream_saw_one();
    assert_eq!(answer.header("x-request-id"), seen.request_id);
    assert_eq!(answer.header("proxy-status"), "mpc-auth-proxy; received-status=204");
    assert_ne!(answer.header("proxy-request-id"), seen.request_id);
    let record = proxy.record(&answer);
    record.says(json!({
        "request.id": answer.header("proxy-request-id"), "upstream.request_id": seen.request_id,
        "upstream.status_code": 204, "upstream.attempts": 1, "upstream.error_code": null,
    }));
    assert!(record["upstream.duration_ms"].as_f64() <= record["duration_ms"].as_f64());
}

#[test]
fn errors_of_upstream_are_passed_on_as_they_are() {
    let proxy = Setup::new().start();
    proxy.cloud().put_job(PROJECT, "running", JobState::Processing);
    for (job, fault, status, code) in [
        ("running", None, 400, "MPC.10213"),
        ("none", None, 403, "MPC.10211"),
        ("100211", Some(Fault::Unauthorized), 401, "APIGW.0301"),
        ("100211", Some(Fault::Throttled { retry_after_s: 7 }), 429, "APIGW.0308"),
        ("100211", Some(Fault::InternalError), 500, "MPC.10201"),
        ("100211", Some(Fault::Unavailable), 503, "APIGW.0613"),
    ] {
        proxy.cloud().clear_requests();
        proxy.cloud().set_faults(fault.map(Fault::once));
        let answer = proxy.send(cancel(job));
        assert_eq!((answer.status, &answer.json()["error_code"]), (status, &json!(code)), "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("proxy-status"), format!("mpc-auth-proxy; received-status={status}"));
        let seen = proxy.upstream_saw_one();
        assert_eq!((seen.status, answer.header("x-request-id")), (Some(status), &*seen.request_id));
        if status == 429 {
            assert_eq!(answer.header("retry-after"), "7");
        }
        proxy.record(&answer).says(json!({
            "http.response.status_code": status, "upstream.status_code": status,
            "upstream.error_code": code, "upstream.request_id": seen.request_id,
            "upstream.attempts": 1, "outcome": "forwarded", "error.type": null,
        }));
    }
}

/// No coding was requested, and a secret within one would not be seen.
#[test]
fn an_encoded_answer_is_invalid() {
    for (headers, body, valid) in [
        ("Content-Encoding: gzip\r\n", "\x1f\u{8b}not looked into", false),
        ("Content-Encoding: identity\r\nContent-Encoding: br\r\n", "{}", false),
        ("Content-Encoding: identity, deflate\r\n", "{}", false),
        ("Content-Type: application/json; charset=utf-16\r\n", "{\0}\0", false),
        ("Content-Encoding: Identity\r\n", "{}", true),
        ("Content-Encoding: gzip\r\n", "", true),
    ] {
        let length = body.len();
        let upstream = Scripted::answering(format!(
            "HTTP/1.1 400 Bad\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ));
        let proxy = Setup::new().upstream(&upstream.url()).start();
        let answer = proxy.send(cancel("100211"));
        if valid {
            assert_eq!(answer.status, 400, "{headers}");
            continue;
        }
        answer.is_refusal(502, "PROXY.UpstreamInvalid");
        let status = answer.header("proxy-status");
        assert!(status.contains("error=http_response_content_coding"), "{status}");
        proxy.record(&answer).says(json!({ "outcome": "unknown", "upstream.status_code": null }));
        upstream.saw(1);
    }
}

#[test]
fn headers_of_one_connection_are_taken_out_of_answers() {
    let body = "{\"error_code\":\"MPC.10202\",\"error_msg\":\"é\"}";
    let upstream = Scripted::answering(format!(
        "HTTP/1.1 400 Bad\r\nConnection: close, x-one\r\nconnection: X-Two\r\nX-One: 1\r\nX-Two: 2\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: close\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\n\
         Trailer: X-Three\r\nX-Three: 3\r\nX-Request-Id: up-1\r\nProxy-Request-Id: forged\r\n\
         Proxy-Status: forged; error=dns_error\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.body.as_str()), (400, body));
    for name in ["connection", "x-one", "x-two", "keep-alive", "proxy-connection", "proxy-authenticate"]
        .iter()
        .chain(&["upgrade", "trailer", "transfer-encoding", "te"])
    {
        assert_eq!(answer.all(name).next(), None, "{name}");
    }
    assert_eq!((answer.header("x-three"), answer.header("x-request-id")), ("3", "up-1"));
    assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(answer.header("proxy-status"), "mpc-auth-proxy; received-status=400");
    proxy.record(&answer).says(json!({
        "upstream.request_id": "up-1", "upstream.error_code": "MPC.10202", "outcome": "forwarded",
    }));
    upstream.saw(1);
}

#[test]
fn an_answer_in_pieces_arrives_whole_with_its_length() {
    let upstream = Scripted::start(|_, peer| {
        peer.request();
        for piece in [
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
            "HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n",
            "4\r\n{\"a\"\r\n",
            "3\r\n:1}\r\n",
            "0\r\nX-Trailer: 1\r\n\r\n",
        ] {
            peer.write(piece);
        }
    });
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.body.as_str()), (500, "{\"a\":1}"));
    assert_eq!(answer.header("content-length"), "7");
    assert_eq!(answer.all("transfer-encoding").next(), None);
    proxy.record(&answer).says(json!({ "upstream.status_code": 500, "outcome": "forwarded" }));
    upstream.saw(1);
}

#[test]
fn a_valid_trace_context_is_passed_on_and_any_other_is_dropped() {
    let proxy = Setup::new().start();
    let (parent, state) = (format!("00-{TRACE_ID}-00f067aa0ba902b7-01"), "rojo=00f067aa0ba902b7,congo=t61");
    let long = format!("a={}", "x".repeat(511));
    for (parents, states, passed) in [
        (&[&*parent][..], &[state][..], (true, true)),
        (&[&parent], &[], (true, false)),
        (&[], &[state], (false, false)),
        (&[&parent, &parent], &[state], (false, false)),
        (&[&parent], &[state, state], (true, false)),
        (&[&parent], &["no pair"], (true, false)),
        (&[&parent], &[&long], (true, false)),
        (&[&parent.to_uppercase()], &[state], (false, false)),
        (&[&parent.replacen("00", "01", 1)], &[state], (false, false)),
        (&[&parent.replace("00f067aa0ba902b7", "0000000000000000")], &[state], (false, false)),
        (&[&parent.replace(TRACE_ID, &"0".repeat(32))], &[state], (false, false)),
        (&[&format!("{parent}-00")], &[state], (false, false)),
    ] {
        proxy.cloud().clear_requests();
        let headers: Vec<String> = parents
            .iter()
            .map(|parent| format!("traceparent: {parent}"))
            .chain(states.iter().map(|state| format!("tracestate: {state}")))
            .collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        proxy.queue("100211");
        let answer = proxy.send(request("DELETE", "/v2/media-prod/editing/jobs/100211", &headers));
        assert_eq!(answer.status, 204, "never a reason to refuse: {headers:?}");
        let seen = proxy.upstream_saw_one();
        assert_eq!(seen.header("traceparent"), passed.0.then_some(&*parent), "{headers:?}");
        assert_eq!(seen.header("tracestate"), passed.1.then_some(state), "{headers:?}");
        let trace_id = if passed.0 { json!(TRACE_ID) } else { json!(null) };
        proxy.record(&answer).says(json!({ "trace_id": trace_id }));
    }
}

#[test]
fn upstream_is_believed_by_a_certificate_of_a_configured_authority() {
    let (proxy, ca) = behind_tls("127.0.0.1");
    let proxy = proxy.file("ca.pem", &ca).section("upstream: { ca_file: ca.pem }").start();
    let answer = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "outcome": "forwarded", "upstream.attempts": 1 }));
    proxy.upstream_saw(1);
}

#[test]
fn a_replaced_authority_is_trusted_by_new_connections_without_a_restart() {
    let (setup, ca) = behind_tls("127.0.0.1");
    let (other, _) = certificate("127.0.0.1");
    let proxy = setup.file("ca.pem", &other).section("upstream: { ca_file: ca.pem }").start();
    assert_eq!(proxy.send(cancel("100211")).status, 502, "it trusts another authority");
    proxy.write("ca.pem", &ca);
    proxy.logged("configuration reloaded");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.upstream_saw(1);
    // An open connection is closed once its authority is no longer trusted.
    proxy.write("ca.pem", &other);
    wait_for("end of the trust", || (proxy.send(cancel("100211")).status == 502).then_some(()));
}

#[test]
fn an_upstream_of_an_unknown_authority_or_another_name_is_sent_nothing() {
    let (unknown, _) = behind_tls("127.0.0.1");
    let (misnamed, ca) = behind_tls("mpc.other.example");
    let misnamed = misnamed.file("ca.pem", &ca).section("upstream: { ca_file: ca.pem }");
    for (what, setup) in [("unknown", unknown), ("misnamed", misnamed)] {
        let proxy = setup.start();
        let answer = proxy.send(cancel("100211")).refused(502, "PROXY.UpstreamUnreachable");
        assert!(answer.error_msg().ends_with("nothing was sent"), "{what}: {}", answer.error_msg());
        assert!(answer.header("proxy-status").contains("error=tls_protocol_error"), "{what}");
        proxy.record(&answer).says(json!({
            "outcome": "failed", "error.type": "PROXY.UpstreamUnreachable", "upstream.status_code": null,
            // A certificate rejected a moment ago still is.
            "upstream.attempts": 1,
        }));
        proxy.upstream_saw(0);
    }
}

#[test]
fn an_answer_that_repeats_a_credential_is_withheld() {
    for echo in [
        |value: &str| format!("{{\"error_code\":\"APIGW.0301\",\"error_msg\":\"got {value}\"}}"),
        |value: &str| {
            let escaped = value.replace('/', "\\/");
            format!("{{\"error_code\":\"APIGW.0301\",\"error_msg\":\"got {escaped}\"}}")
        },
    ] {
        for header in ["x-security-token", "authorization"] {
            let upstream = Scripted::start(move |_, peer| {
                let head = peer.request().unwrap();
                let line = head.lines().find(|l| l.to_ascii_lowercase().starts_with(header)).unwrap();
                let value = line.split_once(": ").unwrap().1;
                let body = echo(value);
                peer.write(format!(
                    "HTTP/1.1 401 No\r\nX-Echo: {value}\r\nX-Request-Id: up-1\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                ));
            });
            let proxy = Setup::new()
                .upstream(&upstream.url())
                .file("st", "temporary/token/0123456789")
                .credential("{ files: { access_key: ak, secret_key: sk, security_token: st } }")
                .start();
            let answer = proxy.send(cancel("100211"));
            assert_eq!((answer.status, answer.json()["error_code"].as_str()), (401, Some("APIGW.0301")));
            assert!(answer.error_msg().contains("withheld"), "{answer:?}");
            assert_eq!((answer.all("x-echo").next(), answer.header("x-request-id")), (None, "up-1"));
            assert_eq!(answer.header("proxy-status"), "mpc-auth-proxy; received-status=401");
            let record = proxy.record(&answer);
            record.says(json!({ "outcome": "forwarded", "upstream.error_code": "APIGW.0301" }));
            assert!(!format!("{answer:?}{record:?}").contains("temporary"), "{answer:?}");
            upstream.saw(1);
        }
    }
}

#[test]
fn a_secret_in_the_access_keys_place_is_not_shown() {
    const SECRET: &str = "S3cr3tOfTheCompany0000000000000000000001";
    let upstream = Scripted::start(|_, peer| {
        let head = peer.request().unwrap();
        let key = head.split_once("Access=").unwrap().1.split_once(',').unwrap().0;
        let body = format!("{{\"error_code\":\"APIGW.0301\",\"error_msg\":\"AK {key} does not exist\"}}");
        peer.write(format!(
            "HTTP/1.1 401 No\r\nX-Echo: {key}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    });
    let setup = Setup::new().upstream(&upstream.url()).file("ak", SECRET).file("sk", "another");
    let proxy = setup.start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!((answer.status, answer.json()["error_code"].as_str()), (401, Some("APIGW.0301")));
    assert_eq!(answer.all("x-echo").next(), None);
    let record = proxy.record(&answer);
    record.says(json!({ "credential.key_hint": null, "upstream.error_code": "APIGW.0301" }));
    assert!(!format!("{answer:?}{record:?}").contains("S3cr"), "{answer:?}{record:?}");
    upstream.saw(1);
}

fn behind_tls(name: &str) -> (Setup, String) {
    let (ca, config) = certificate(name);
    (Setup::new().with_cloud(cloud(Options { tls: Some(config), ..options() })), ca)
}

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
