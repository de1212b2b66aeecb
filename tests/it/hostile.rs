//! What if upstream misbehaves? The caller is told 502 or 504 and that the outcome is unknown, and nothing is sent twice.

use serde_json::json;

use crate::harness::{Peer, Proxy, Scripted, Setup, cancel};

#[test]
fn an_answer_that_is_not_acceptable_is_502_with_the_outcome_unknown() {
    for (what, bytes, proxy_error) in answers() {
        let upstream = Scripted::answering(bytes);
        let proxy = Setup::new().upstream(&upstream.url()).start();
        is_unknown(&proxy, what, (502, "PROXY.UpstreamInvalid", proxy_error));
        upstream.saw(1);
    }
}

#[test]
fn an_answer_that_does_not_come_or_does_not_end_is_504_with_the_outcome_unknown() {
    for (what, script) in [
        ("nothing", nothing as fn(&mut Peer)),
        ("half a head", |peer| {
            peer.write("HTTP/1.1 204 No");
            peer.wait_until_closed();
        }),
        ("half a body", |peer| {
            peer.write("HTTP/1.1 400 Bad\r\nContent-Length: 10\r\n\r\n{");
            peer.wait_until_closed();
        }),
        ("half a chunk", |peer| {
            peer.write("HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{");
            peer.wait_until_closed();
        }),
        ("100 without end", |peer| while peer.write("HTTP/1.1 100 Continue\r\n\r\n") {}),
        ("103 without end", |peer| while peer.write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") {}),
    ] {
        let upstream = Scripted::start(move |_, peer| {
            peer.request();
            script(peer);
        });
        let proxy = Setup::new()
            .upstream(&upstream.url())
            .section("upstream: { attempt_timeout: 300ms, connect_timeout: 200ms }")
            .start();
        is_unknown(&proxy, what, (504, "PROXY.UpstreamTimeout", "http_response_timeout"));
        upstream.saw(1);
    }
}

#[test]
fn the_deadline_of_a_request_ends_an_attempt_too() {
    let upstream = Scripted::start(|_, peer| {
        peer.request();
        nothing(peer);
    });
    let proxy = Setup::new().upstream(&upstream.url()).section("limits: { request_deadline: 300ms }").start();
    is_unknown(&proxy, "deadline", (504, "PROXY.UpstreamTimeout", "http_response_timeout"));
    upstream.saw(1);
}

#[test]
fn a_bad_answer_spoils_no_later_one() {
    let upstream = Scripted::start(|connection, peer| {
        peer.request();
        match connection {
            // The second answer on this connection was asked for by nobody.
            0 => peer.write("HTTP/1.1 204 A\r\n\r\nHTTP/1.1 204 B\r\nX-Request-Id: forged\r\n\r\n"),
            _ => peer.write("HTTP/1.1 403 C\r\nX-Request-Id: genuine\r\nContent-Length: 0\r\n\r\n"),
        };
        peer.wait_until_closed();
    });
    let proxy = Setup::new().upstream(&upstream.url()).start();
    let first = proxy.send(cancel("100211"));
    let second = proxy.send(cancel("100212"));
    assert_eq!((first.status, second.status, second.header("x-request-id")), (204, 403, "genuine"));
    proxy.record(&first).says(json!({ "upstream.request_id": null }));
    proxy.record(&second).says(json!({ "upstream.request_id": "genuine" }));
    upstream.saw(2);
}

/// One attempt, an answer that says what is unknown, and a record that says it too.
fn is_unknown(proxy: &Proxy, what: &str, (status, code, proxy_error): (u16, &str, &str)) {
    let answer = proxy.send(cancel("100211"));
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    answer.is_refusal(status, code);
    assert!(answer.error_msg().contains("the outcome is unknown"), "{what}: {}", answer.error_msg());
    let expected = format!("mpc-auth-proxy; error={proxy_error}; ");
    assert!(answer.header("proxy-status").starts_with(&expected), "{what}: {answer:?}");
    proxy.record(&answer).says(json!({
        "http.response.status_code": status, "outcome": "unknown", "error.type": code,
        "upstream.attempts": 1, "upstream.status_code": null, "upstream.request_id": null,
        "policy.effect": "allow", "credential.name": "prod",
    }));
}

fn nothing(peer: &mut Peer) {
    peer.wait_until_closed();
}

/// A name, the bytes, and the error type of `Proxy-Status`.
pub(crate) fn answers() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let (malformed, cut) = ("http_protocol_error", "http_response_incomplete");
    let redirect = |status: &str| {
        format!("HTTP/1.1 {status}\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
            .into_bytes()
    };
    let text = |text: &str| text.as_bytes().to_vec();
    let too_long = "x".repeat(64 * 1024 + 1);
    let chunk = format!("{:x}\r\n{too_long}\r\n0\r\n\r\n", too_long.len());
    vec![
        ("301", redirect("301 Moved"), malformed),
        ("302", redirect("302 Found"), malformed),
        ("304", redirect("304 Same"), malformed),
        ("307", redirect("307 Again"), malformed),
        ("308", redirect("308 For ever"), malformed),
        ("101", text("HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"), malformed),
        ("600", text("HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n"), malformed),
        ("garbage", text("\x16\x03\x01 this is not HTTP\r\n\r\n"), malformed),
        ("no status", text("HTTP/1.1\r\n\r\n"), malformed),
        ("another protocol", text("SSH-2.0-OpenSSH_9.6\r\n"), malformed),
        ("HTTP/2 frames", b"\0\0\x12\x04\0\0\0\0\0".to_vec(), malformed),
        ("a header without a colon", text("HTTP/1.1 204 No\r\nnonsense\r\n\r\n"), malformed),
        (
            "two lengths",
            text("HTTP/1.1 400 A\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            malformed,
        ),
        ("closed without a byte", Vec::new(), "connection_terminated"),
        ("cut head", text("HTTP/1.1 204 No Content\r\nX-Requ"), cut),
        ("cut body", text("HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\n{\"error"), cut),
        ("cut chunk", text("HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"), cut),
        ("no last chunk", text("HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"), cut),
        (
            "long body",
            format!("HTTP/1.1 400 A\r\nContent-Length: {}\r\n\r\n{too_long}", too_long.len()).into(),
            "http_response_body_size",
        ),
        (
            "long chunked body",
            format!("HTTP/1.1 400 A\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}").into(),
            "http_response_body_size",
        ),
        (
            "long body to the end",
            format!("HTTP/1.1 400 A\r\n\r\n{too_long}").into(),
            "http_response_body_size",
        ),
        ("large head", format!("HTTP/1.1 204 No\r\nX: {}\r\n\r\n", "x".repeat(100_000)).into(), malformed),
        ("many headers", format!("HTTP/1.1 204 No\r\n{}\r\n", "X: 1\r\n".repeat(200)).into(), malformed),
    ]
}
