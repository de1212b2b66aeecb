//! Hosts: exactly one, and one of the listener's; other headers about the destination are ignored.

use super::{Case, HOST, LINE, WRONG_HOST, head, judge, judge_on, with};
use crate::harness::Setup;

#[test]
fn a_host_that_is_not_the_listeners_is_told_so() {
    let case = |host: &&str| {
        let bytes = head(LINE, &[&format!("Host: {host}")]);
        // What is not ASCII is no host at all.
        if host.is_ascii() { Case::refused(*host, bytes, WRONG_HOST) } else { Case::bad(*host, bytes) }
    };
    judge(80, WRONG.iter().map(case));
}

#[test]
fn a_host_of_the_listener_is_answered_in_any_case_and_with_any_port() {
    judge(15, OURS.map(|host| Case::harmless(host, head(LINE, &[&format!("Host: {host}")]))));
}

#[test]
fn no_host_or_more_than_one_is_refused() {
    let mut cases = vec![
        Case::bad("none", head(LINE, &[])),
        Case::bad(
            "none, but others that speak of one",
            head(LINE, &["X-Forwarded-Host: localhost", "X-Host: localhost"]),
        ),
        Case::bad("none, but an absolute target", head(&LINE.replace(" /", " http://localhost/"), &[])),
    ];
    for other in [
        "Host: localhost",
        "HOST: localhost",
        "host: evil.example",
        "Host: evil.example",
        "Host:",
        "Host: 127.0.0.1",
    ] {
        cases.push(Case::bad(format!("{other} behind ours"), head(LINE, &[HOST, other])));
        cases.push(Case::bad(format!("{other} before ours"), head(LINE, &[other, "X-A: b", HOST])));
    }
    for target in [
        "http://localhost/v2/media-prod/editing/jobs/100211",
        "http://evil.example/v2/media-prod/editing/jobs/100211",
    ] {
        for host in ["localhost", "evil.example", ""] {
            let line = format!("DELETE {target} HTTP/1.1");
            cases.push(Case::bad(format!("{target} and `{host}`"), head(&line, &[&format!("Host: {host}")])));
        }
    }
    judge(21, cases);
}

#[test]
fn a_host_that_is_none_is_refused_where_every_host_is_answered() {
    let proxy = Setup::new().listeners(&["{ name: app, bind: 127.0.0.1:0, hosts: any }"]).start();
    let mut cases: Vec<Case> = ["evil.example", "localhost", "10.0.0.1:8080", "[2001:db8::1]:80", "a_b", "x"]
        .map(|host| Case::harmless(host, head(LINE, &[&format!("Host: {host}")])))
        .into();
    for host in [
        "", "a b", "a,b", "a/b", "a@b", "a?b", "a#b", "a\\b", "a%2e", "http://a", "a;b", "\"a\"", "\u{e9}",
        "a\tb",
    ] {
        cases.push(Case::bad(format!("`{host}`"), head(LINE, &[&format!("Host: {host}")])));
    }
    judge_on(&proxy, "app", 20, cases);
}

#[test]
fn on_a_unix_socket_any_host_will_do_unless_hosts_are_configured() {
    let proxy = Setup::new().listeners(&["{ name: app, bind: 'unix:proxy.sock' }"]).start();
    let mut cases: Vec<Case> = ["unix", "localhost", "evil.example", "", "a b", "\u{e9}", "http:.sock"]
        .map(|host| Case::harmless(host, head(LINE, &[&format!("Host: {host}")])))
        .into();
    cases.push(Case::harmless("none", head(LINE, &[])));
    cases.push(Case::bad("two", head(LINE, &[HOST, HOST])));
    cases.push(Case::bad("two, one respelled in case", head(LINE, &["host: unix", "HOST: unix"])));
    cases.push(Case::refused("a browser's", with(&["Origin: null"]), super::FORBIDDEN));
    judge_on(&proxy, "app", 11, cases);
    let strict = "{ name: app, bind: 'unix:proxy.sock', hosts: [proxy.media.svc, localhost] }";
    judge_on(
        &Setup::new().listeners(&[strict]).start(),
        "app",
        3,
        [
            Case::harmless("ours", head(LINE, &["Host: proxy.media.svc"])),
            Case::refused("another", head(LINE, &["Host: unix"]), WRONG_HOST),
            Case::bad("none", head(LINE, &[])),
        ],
    );
}

#[test]
fn what_others_say_about_the_host_is_not_looked_at() {
    let names = [
        "X-Forwarded-Host",
        "X-Forwarded-Server",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Scheme",
        "X-Forwarded-Prefix",
        "X-Original-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Host",
        "X-HTTP-Host-Override",
        "Host_",
        "X_Forwarded_Host",
        "Forwarded",
        "Via",
        "X-Backend-Host",
        "X-Envoy-Original-Path",
        "X-Original-URI",
        "X-Accel-Redirect",
        "X-Sendfile",
        "Destination",
        "Authority",
    ];
    let mut cases = Vec::new();
    for name in names {
        cases.push(Case::harmless(name, with(&[&format!("{name}: evil.example")])));
        let ours = format!("{name}: localhost");
        let name = format!("{name} with ours, and another Host");
        cases.push(Case::refused(name, head(LINE, &["Host: evil.example", &ours]), WRONG_HOST));
    }
    judge(44, cases);
}

const OURS: [&str; 15] = [
    "localhost",
    "LOCALHOST",
    "LocalHost",
    "localhost:80",
    "localhost:8080",
    "localhost:1",
    "localhost:0",
    "localhost:65535",
    "127.0.0.1",
    "127.0.0.1:80",
    "127.0.0.1:443",
    "[::1]",
    "[::1]:80",
    "[::1]:65535",
    "LOCALHOST:443",
];

const WRONG: &[&str] = &[
    "",
    "evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "evil-localhost",
    "localhost-evil",
    "xlocalhost",
    "localhostx",
    "localhost.",
    ".localhost",
    "localhost..",
    "local host",
    "localhost evil.example",
    "localhost,evil.example",
    "localhost, evil.example",
    "evil.example, localhost",
    "localhost;evil.example",
    "localhost/",
    "localhost/evil.example",
    "localhost\\evil.example",
    "localhost#evil.example",
    "localhost?evil.example",
    "user@localhost",
    "user:password@localhost",
    "localhost@evil.example",
    "localhost:80@evil.example",
    "evil.example#@localhost",
    "http://localhost",
    "http://localhost/",
    "//localhost",
    "localhost:",
    "localhost:x",
    "localhost:-1",
    "localhost:+80",
    "localhost:80x",
    "localhost:80:80",
    "localhost:80,localhost:80",
    "localhost: 80",
    "localhost :80",
    "localhost:65536",
    "localhost:99999999999999999999",
    "localhost:0x50",
    "localhost:\u{ff18}0",
    ":80",
    ":",
    "127.0.0.2",
    "127.1",
    "127.0.0.1.",
    "127.0.0.1.evil.example",
    "127.000.000.001",
    "0127.0.0.1",
    "0x7f.0.0.1",
    "2130706433",
    "0.0.0.0",
    "0",
    "::1",
    "::1:80",
    "[::1",
    "::1]",
    "[::1]x",
    "[::1]:x",
    "[::1]80",
    "[[::1]]",
    "[::1%lo]",
    "[::1%25lo]",
    "[0:0:0:0:0:0:0:1]",
    "[::01]",
    "[::ffff:127.0.0.1]",
    "[::]",
    "[localhost]",
    "[127.0.0.1]",
    "%6cocalhost",
    "localhost%00",
    "localhost%2eevil.example",
    "localh\u{f8}st",
    "\u{24db}ocalhost",
    "*",
    "\"localhost\"",
    "169.254.169.254",
    "metadata.google.internal",
];
