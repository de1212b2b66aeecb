//! Authentication: on a listener without a caller of its own, only a correct token identifies one; other apparent proofs are
//! ignored, and a wrong one is never skipped.

use super::{Case, HOST, LINE, UNAUTHENTICATED, head, judge_on, with};
use crate::harness::{Proxy, Setup, TOKEN};

#[test]
fn a_token_that_is_not_exactly_right_proves_nobody() {
    let mut cases = Vec::new();
    let digest = "ec1b7ad9ffb8e8f16c0fd3f1f06a4a9c0f1ce7a61bb1e8cd7a2d4b9c0ed1b3f5";
    let (longer, shorter) = (format!("{TOKEN}0"), &TOKEN[..TOKEN.len() - 1]);
    let (upper, padded) = (TOKEN.to_ascii_uppercase(), format!("{TOKEN}="));
    let wrong = [
        "",
        " ",
        TOKEN,
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Basic b25jYWxsOng=",
        "Digest username=\"oncall\"",
        "Negotiate x",
        &format!("Basic {TOKEN}"),
        &format!("Token {TOKEN}"),
        &format!("Bearer={TOKEN}"),
        &format!("Bearer:{TOKEN}"),
        &format!("Bearer\t{TOKEN}"),
        &format!("Bearer{TOKEN}"),
        &format!("xBearer {TOKEN}"),
        &format!("Bearer Bearer {TOKEN}"),
        &format!("Bearer {longer}"),
        &format!("Bearer {shorter}"),
        &format!("Bearer {upper}"),
        &format!("Bearer {padded}"),
        &format!("Bearer {digest}"),
        &format!("Bearer \"{TOKEN}\""),
        &format!("Bearer '{TOKEN}'"),
        &format!("Bearer <{TOKEN}>"),
        &format!("Bearer {TOKEN} x"),
        &format!("Bearer x {TOKEN}"),
        &format!("Bearer {TOKEN},"),
        &format!("Bearer {TOKEN}, Bearer {TOKEN}"),
        &format!("Bearer x, Bearer {TOKEN}"),
        &format!("Bearer {TOKEN};"),
        &format!("Bearer {TOKEN}%00"),
        &format!("Bearer {TOKEN}\u{e9}"),
        &format!("Bearer token={TOKEN}"),
        &format!("Bearer {}", "a".repeat(4096)),
        &format!("Bearer {}", "a".repeat(5000)),
        "Bearer null",
        "Bearer undefined",
        "Bearer *",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJvbmNhbGwifQ.",
        "SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=00",
        "AWS4-HMAC-SHA256 Credential=x",
    ];
    for value in wrong {
        for name in ["Authorization", "Proxy-Authorization"] {
            let shown = value.replace(TOKEN, "TOKEN").chars().take(60).collect::<String>();
            let line = format!("{name}: {value}");
            cases.push(Case::refused(
                format!("{name}: `{shown}` {}", value.len()),
                with(&[&line]),
                UNAUTHENTICATED,
            ));
        }
    }
    judge_on(&team(), "team", 84, cases);
}

#[test]
fn a_wrong_proof_beside_a_right_one_is_not_passed_over() {
    let right = [format!("Authorization: Bearer {TOKEN}"), format!("Proxy-Authorization: Bearer {TOKEN}")];
    let mut cases = Vec::new();
    for right in &right {
        for wrong in [
            "Authorization: Bearer wrong-token-0123456789",
            "Proxy-Authorization: Bearer wrong-token-0123456789",
            "Authorization: Basic b25jYWxsOng=",
            "Proxy-Authorization: Basic b25jYWxsOng=",
            "Authorization:",
            "Proxy-Authorization:",
            "Proxy_Authorization: Bearer x",
            "PROXY_AUTHORIZATION: x",
            "Proxy-Authorization: SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature=00",
        ] {
            cases.push(Case::refused(format!("{right} and {wrong}"), with(&[right, wrong]), UNAUTHENTICATED));
            cases.push(Case::refused(format!("{wrong} and {right}"), with(&[wrong, right]), UNAUTHENTICATED));
        }
        cases.push(Case::refused(format!("{right} twice"), with(&[right, right]), UNAUTHENTICATED));
    }
    judge_on(&team(), "team", 38, cases);
}

#[test]
fn a_header_query_or_path_that_names_a_caller_proves_nobody() {
    let mut cases: Vec<Case> = NAMES
        .iter()
        .flat_map(|name| {
            let underscore = name.replace('-', "_");
            [
                Case::refused(
                    format!("{name}: oncall"),
                    with(&[&format!("{name}: oncall")]),
                    UNAUTHENTICATED,
                ),
                Case::refused(
                    format!("{name}: token"),
                    with(&[&format!("{name}: {TOKEN}")]),
                    UNAUTHENTICATED,
                ),
                Case::refused(
                    format!("{underscore}, as Connection names it"),
                    with(&[&format!("Connection: {name}"), &format!("{underscore}: Bearer {TOKEN}")]),
                    UNAUTHENTICATED,
                ),
            ]
        })
        .collect();
    for (what, target) in [
        ("a token in the query", format!("/v2/media-prod/editing/job?job_id=100211&access_token={TOKEN}")),
        ("a user in the path", "/oncall@v2/media-prod/editing/jobs/100211".into()),
        ("no such path", "/".into()),
    ] {
        let bytes = head(&format!("DELETE {target} HTTP/1.1"), &[HOST]);
        cases.push(Case::refused(what, bytes, UNAUTHENTICATED));
    }
    judge_on(&team(), "team", 78, cases);
}

#[test]
fn a_right_token_is_a_caller_and_a_listener_without_tokens_takes_none() {
    let proxy = team();
    let right = [
        format!("Authorization: Bearer {TOKEN}"),
        format!("authorization: bearer {TOKEN}"),
        format!("AUTHORIZATION: BEARER {TOKEN}"),
        format!("Authorization: Bearer   {TOKEN}"),
        format!("Authorization:Bearer {TOKEN}\t "),
        format!("Proxy-Authorization: Bearer {TOKEN}"),
    ];
    judge_on(&proxy, "team", 6, right.iter().map(|line| Case::harmless(line, with(&[line]))));
    let both = format!("Authorization: Bearer {TOKEN}\r\nProxy-Authorization: Bearer {TOKEN}");
    let signed =
        format!("{}\r\nAuthorization: SDK-HMAC-SHA256 Access=AK, SignedHeaders=host, Signature=00", right[5]);
    judge_on(
        &proxy,
        "team",
        2,
        [Case::harmless("both", with(&[&both])), Case::harmless("an SDK with a dummy key", with(&[&signed]))],
    );
    let ignored = ["Authorization: Basic x", "Authorization:"];
    judge_on(&proxy, "app", 2, ignored.iter().map(|line| Case::harmless(*line, head(LINE, &[HOST, line]))));
    let tokens =
        [&right[..], &["Authorization: Bearer wrong".into(), "Proxy_Authorization: Bearer".into()]].concat();
    let refused = |line: &String| Case::refused(line, head(LINE, &[HOST, line]), UNAUTHENTICATED);
    judge_on(&proxy, "app", 8, tokens.iter().map(refused));
}

/// `app` identifies its caller; on `team` callers use tokens.
fn team() -> Proxy {
    Setup::new().with_team().everything_allowed().start()
}

const NAMES: &[&str] = &[
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Client-Cert",
    "X-Auth-Request-User",
    "X-Auth-Token",
    "X-Auth-User",
    "X-Remote-User",
    "Remote-User",
    "X-Remote-Group",
    "X-User",
    "X-User-Id",
    "X-Caller",
    "X-Caller-Id",
    "X-Client-Cert",
    "X-SSL-Client-S-DN",
    "X-SSL-Client-Verify",
    "X-Api-Key",
    "Api-Key",
    "X-Access-Token",
    "Cookie",
    "X-Spiffe-Id",
    "X-Original-User",
    "Impersonate-User",
];
