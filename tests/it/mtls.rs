//! Callers with certificates: which are accepted, which are identified, and how long that holds on a connection.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use chrono::DateTime;
use nix::sys::signal::Signal;
use rustls::version::{TLS12, TLS13};
use serde_json::json;

use crate::harness::{
    Authority, BOUND, Client, Holder, Proxy, Setup, TOKEN, Wanted, Wire, cancel, request, wait_for,
};

const CLEANER: &str = "spiffe://media.example/ns/prod/sa/cleaner";
/// Enough seconds for a handshake on a busy machine.
const BRIEF: i64 = 8;
const POLICY: &str = "version: 1
callers:
  cleaner: { identify: [ { spiffe: 'spiffe://media.example/ns/prod/sa/cleaner' } ] }
  host: { identify: [ { dns: host.media.svc } ] }
  oncall: { identify: [ { bearer: { sha256_file: oncall.sha256 } } ] }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
";

/// A proxy that requires certificates of this authority, which also issued its own.
fn setup(authority: &Authority) -> Setup {
    let server = authority.issue(Wanted::server());
    Setup::new()
        .listeners(&["{ name: mesh, bind: 127.0.0.1:0, bearer: true, \
                      tls: { certificate: tls.crt, key: tls.key, client_ca: ca.crt } }"])
        .file("tls.crt", &server.certificate_pem)
        .file("tls.key", &server.key_pem)
        .file("ca.crt", &authority.pem())
        .policy(POLICY)
}

fn client<'a>(trusts: &'a Authority, shows: &'a Holder) -> Client<'a> {
    Client { trusts, shows: Some(shows), version: &TLS13 }
}

/// Sends a request that must be answered.
fn ask(proxy: &Proxy, client: &Client<'_>, request: &str) -> Wire {
    proxy.expect_records(1);
    client.ask(proxy, "mesh", request).unwrap()
}

fn with(headers: &[&str]) -> String {
    request("DELETE", "/v2/media-prod/editing/jobs/100211", headers)
}

/// To find out why a caller is not known, one has to see what it presented.
#[test]
fn a_certificate_that_proves_nobody_is_named_in_the_record() {
    let authority = Authority::new();
    let proxy = setup(&authority).start();
    for (wanted, presented) in [
        (
            Wanted::caller().uri("spiffe://media.example/ns/prod/sa/other"),
            "certificate:spiffe://media.example/ns/prod/sa/other",
        ),
        (Wanted::caller().dns("other.media.svc"), "certificate:other.media.svc"),
        (Wanted::caller(), "certificate:CN=rcgen self signed cert"),
    ] {
        let holder = authority.issue(wanted);
        let answer = ask(&proxy, &client(&authority, &holder), &cancel("100211"))
            .answer()
            .refused(401, "PROXY.Unauthenticated");
        let record = proxy.record(&answer);
        record.says(json!({ "error.reason": "no_proof", "caller.id": null }));
        assert!(record.text("caller.presented").contains(presented), "{record:#?}");
        let metrics = proxy.probe("/status").body;
        assert!(metrics.contains(presented), "{metrics}");
    }
}

#[test]
fn a_certificate_proves_its_caller() {
    let authority = Authority::new();
    let proxy = setup(&authority).start();
    let cleaner = authority.issue(Wanted::caller().uri(CLEANER));
    let host = authority.issue(Wanted::caller().dns("Host.media.svc").dns("other.media.svc"));
    for (holder, version, caller, proof) in [
        (&cleaner, &TLS13, "cleaner", "spiffe"),
        (&cleaner, &TLS12, "cleaner", "spiffe"),
        (&host, &TLS13, "host", "dns"),
    ] {
        proxy.queue("100211");
        let client = Client { version, ..client(&authority, holder) };
        let answer = ask(&proxy, &client, &cancel("100211")).answer();
        assert_eq!(answer.status, 204, "{answer:#?}");
        proxy.record(&answer).says(json!({ "caller.id": caller, "caller.identified_by": proof }));
    }
    proxy.upstream_saw(3);
}

#[test]
fn whoever_has_no_valid_certificate_is_not_let_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let proxy = setup(&authority).start();
    let right = || Wanted::caller().uri(CLEANER);
    let constrained = authority.subordinate("other.example");
    for (why, holder) in [
        ("of another authority", Some(other.issue(right()))),
        ("expired", Some(authority.issue(right().valid(-7200, -60)))),
        ("not valid yet", Some(authority.issue(right().valid(600, 7200)))),
        ("of an authority that may not vouch for it", Some(constrained.issue(right().dns("host.media.svc")))),
        ("of a server", Some(authority.issue(Wanted::server().uri(CLEANER)))),
        ("none", None),
    ] {
        for version in [&TLS13, &TLS12] {
            let client = Client { trusts: &authority, shows: holder.as_ref(), version };
            assert!(client.ask(&proxy, "mesh", cancel("100211")).is_err(), "{why}");
        }
    }
    // The same authority may have issued the proxy's own certificate.
    let own = constrained.issue(Wanted::caller().dns("host.other.example"));
    ask(&proxy, &client(&authority, &own), &cancel("100211")).answer().refused(401, "PROXY.Unauthenticated");
    // The log shows the first of each cause.
    let failed = "tls_handshake_failures_total{listener=\"mesh\",reason=\"rejected\"} 12\n";
    wait_for("count of all", || proxy.probe("/metrics").body.contains(failed).then_some(()));
    proxy.logged("TLS handshake failed");
    proxy.upstream_saw(0);
}

/// Such a chain could take seconds to verify; `src/chain.rs` shows that it is refused.
#[test]
fn whoever_shows_many_certificates_is_not_let_in() {
    let authority = Authority::new();
    let proxy = setup(&authority).start();
    let cleaner = || authority.issue(Wanted::caller().uri(CLEANER));
    let more = |count| std::iter::repeat_with(|| authority.issue(Wanted::caller())).take(count);
    for version in [&TLS13, &TLS12] {
        let many = cleaner().showing(more(48));
        let client = Client { version, ..client(&authority, &many) };
        assert!(client.ask(&proxy, "mesh", cancel("100211")).is_err());
    }
    let said = "more than 4 intermediate certificates";
    wait_for("reason in the log", || (proxy.log().matches(said).count() == 2).then_some(()));
    // What is of no use is no offence yet. These have one name, but none.
    let few = cleaner().showing(more(2));
    assert_eq!(ask(&proxy, &client(&authority, &few), &cancel("100211")).answer().status, 204);
}

#[test]
fn a_valid_certificate_without_a_known_name_proves_nobody() {
    let authority = Authority::new();
    let proxy = setup(&authority).start();
    let several = "the client certificate has more than one URI name";
    let nobody = "caller not authenticated: no valid credentials presented";
    for (wanted, why) in [
        (Wanted::caller(), nobody),
        (Wanted::caller().uri("spiffe://other.example/ns/prod/sa/cleaner"), nobody),
        (Wanted::caller().uri("spiffe://media.example/ns/prod/sa/cleaner/x"), nobody),
        (Wanted::caller().dns("*.media.svc"), nobody),
        (Wanted::caller().uri(CLEANER).uri("spiffe://media.example/ns/prod/sa/other"), several),
        (Wanted::caller().uri("https://media.example").uri(CLEANER), several),
        (
            Wanted::caller().uri(CLEANER).dns("host.media.svc"),
            "the credentials presented identify different callers",
        ),
    ] {
        let holder = authority.issue(wanted);
        let answer = ask(&proxy, &client(&authority, &holder), &cancel("100211"))
            .answer()
            .refused(401, "PROXY.Unauthenticated");
        assert_eq!(answer.error_msg(), why);
    }
    proxy.upstream_saw(0);
}

#[test]
fn a_token_beside_a_certificate_must_be_of_the_same_caller() {
    let authority = Authority::new();
    let proxy = setup(&authority).start();
    let token = format!("Proxy-Authorization: Bearer {TOKEN}");
    let unknown = authority.issue(Wanted::caller());
    let answer = ask(&proxy, &client(&authority, &unknown), &with(&[&token])).answer().with_status(204);
    proxy.record(&answer).says(json!({ "caller.id": "oncall", "caller.identified_by": "bearer" }));
    let cleaner = authority.issue(Wanted::caller().uri(CLEANER));
    for token in [&*token, "Proxy-Authorization: Bearer nobody-0123456789"] {
        ask(&proxy, &client(&authority, &cleaner), &with(&[token]))
            .answer()
            .refused(401, "PROXY.Unauthenticated");
    }
    proxy.upstream_saw(1);
}

/// Its own, or one that it was verified by.
#[test]
fn a_connection_is_worth_nothing_when_its_certificate_has_expired() {
    let authority = Authority::new();
    let proxy = setup(&authority).start();
    let (own, by) = (authority.issue(brief()), authority.brief(BRIEF).issue(Wanted::caller().uri(CLEANER)));
    let mut wires = [own, by].map(|holder| ask(&proxy, &client(&authority, &holder), &cancel("100211")));
    for wire in &mut wires {
        assert_ne!(wire.answer().status, 401);
    }
    for mut wire in wires {
        let refused = wait_for("end of the certificate", || {
            proxy.expect_records(1);
            wire.write(cancel("100211"));
            Some(wire.answer()).filter(|answer| answer.status == 401)
        });
        refused.is_refusal(401, "PROXY.Unauthenticated");
        assert_eq!(
            refused.error_msg(),
            "the client certificate expired after the connection was established"
        );
    }
}

fn brief() -> Wanted {
    Wanted::caller().uri(CLEANER).valid(-60, BRIEF)
}

#[test]
fn what_is_not_tls_is_hung_up_on() {
    let authority = Authority::new();
    let proxy = setup(&authority).section("limits: { header_timeout: 3s }").start();
    let connect = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(proxy.address("mesh")).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    };
    let begun = Instant::now();
    let slow = connect(b"\x16\x03\x01");
    let wrong = [&cancel("100211").into_bytes()[..], b"\x16\x03\x01\xff\xff", b"\0\0\0\0"].map(connect);
    for mut stream in wrong {
        let mut rest = Vec::new();
        // A TLS alert at most.
        drop(stream.read_to_end(&mut rest));
        assert!(!rest.starts_with(b"HTTP"), "{}", rest.escape_ascii());
    }
    drop((&slow).read_to_end(&mut Vec::new()));
    let waited = begun.elapsed();
    assert!((Duration::from_secs(2)..BOUND).contains(&waited), "{waited:?}");
    // And it still serves others.
    let cleaner = authority.issue(Wanted::caller().uri(CLEANER));
    assert_eq!(ask(&proxy, &client(&authority, &cleaner), &cancel("100211")).answer().status, 204);
}

#[test]
fn certificates_are_replaced_while_it_runs() {
    let (old, new) = (Authority::new(), Authority::new());
    let proxy = setup(&old).start();
    let (before, after) =
        (old.issue(Wanted::caller().uri(CLEANER)), new.issue(Wanted::caller().uri(CLEANER)));
    let answered = |authority, holder| {
        let asked = client(authority, holder).ask(&proxy, "mesh", cancel("100211"));
        if asked.is_ok() {
            proxy.expect_records(1);
        }
        asked.is_ok()
    };
    assert!(answered(&old, &before));

    let ends = || {
        let metrics = proxy.probe("/metrics").body;
        let series = "mpc_auth_proxy_certificate_expiry_timestamp_seconds{listener=\"mesh\"} ";
        let values: Vec<i64> =
            metrics.lines().filter_map(|line| line.strip_prefix(series)?.parse().ok()).collect();
        let told = proxy.probe("/status").json()["listeners"][0]["certificate_ends"].clone();
        let told = DateTime::parse_from_rfc3339(told.as_str().unwrap()).unwrap().timestamp();
        assert_eq!(values, [told]);
        told
    };
    let first = ends();

    // A key without its certificate changes nothing.
    let server = new.issue(Wanted::server().valid(-60, 7200));
    proxy.write("tls.key", &server.key_pem);
    proxy.signal(Signal::SIGHUP);
    let refused = "configuration not reloaded: the last good one stays in force";
    let problem = proxy.logged(refused)["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("does not match the first certificate in"), "{problem}");
    assert!(answered(&old, &before) && ends() == first);

    proxy.write("tls.crt", &server.certificate_pem);
    proxy.write("ca.crt", &new.pem());
    proxy.signal(Signal::SIGHUP);
    wait_for("the new certificates", || answered(&new, &after).then_some(()));
    // Theirs end two and three hours from when they were issued.
    let sooner = first - ends();
    assert!((3000..=3600).contains(&sooner), "{sooner}");
    assert!(!answered(&old, &before) && !answered(&new, &before), "the old authority still counts");
}

#[test]
fn where_certificates_are_optional_a_token_proves_a_caller_and_a_bad_certificate_nobody() {
    let (authority, other) = (Authority::new(), Authority::new());
    let proxy = setup(&authority)
        .listeners(&[
            "{ name: mesh, bind: 127.0.0.1:0, bearer: true, tls: { certificate: tls.crt, key: tls.key, \
                      client_ca: ca.crt, client_certificates: optional } }",
        ])
        .start();
    let token = format!("Proxy-Authorization: Bearer {TOKEN}");
    for version in [&TLS13, &TLS12] {
        let nobody = Client { trusts: &authority, shows: None, version };
        proxy.queue("100211");
        let answer = ask(&proxy, &nobody, &with(&[&token])).answer().with_status(204);
        proxy.record(&answer).says(json!({ "caller.id": "oncall", "caller.identified_by": "bearer" }));
        ask(&proxy, &nobody, &cancel("100211")).answer().is_refusal(401, "PROXY.Unauthenticated");
        let cleaner = authority.issue(Wanted::caller().uri(CLEANER));
        let known = Client { version, ..client(&authority, &cleaner) };
        proxy.queue("100211");
        assert_eq!(ask(&proxy, &known, &cancel("100211")).answer().status, 204);
        // Proofs of two callers identify neither.
        ask(&proxy, &known, &with(&[&token])).answer().is_refusal(401, "PROXY.Unauthenticated");
        let foreign = other.issue(Wanted::caller().uri(CLEANER));
        assert!(
            Client { version, ..client(&authority, &foreign) }.ask(&proxy, "mesh", with(&[&token])).is_err()
        );
    }
    proxy.upstream_saw(4);
}

#[test]
fn tls_alone_asks_for_no_certificate() {
    let authority = Authority::new();
    let proxy = setup(&authority)
        .listeners(&[
            "{ name: mesh, bind: 127.0.0.1:0, bearer: true, tls: { certificate: tls.crt, key: tls.key } }",
        ])
        .start();
    let client = Client { trusts: &authority, shows: None, version: &TLS13 };
    ask(&proxy, &client, &with(&[&format!("Authorization: Bearer {TOKEN}")])).answer().with_status(204);
    ask(&proxy, &client, &cancel("100211")).answer().is_refusal(401, "PROXY.Unauthenticated");
}
