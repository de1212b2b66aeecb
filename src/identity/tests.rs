//! Which credentials identify which caller, and that no weaker one replaces an invalid one.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use IdentityError::{Conflict, MalformedToken, NoProof, TokenNotTaken, WrongToken};

const ONCALL: &str = "Bearer oncall-0123456789";
const ROTATED: &str = "Bearer rotated-0123456789";
const EDITOR: &str = "Bearer editor-0123456789";
const NOBODY: &str = "Bearer nobody-0123456789";

fn callers() -> Callers {
    let token = |value: &str| Proof::Bearer(TokenDigest::of(value.trim_start_matches("Bearer ").as_bytes()));
    let unix = |uid, gid| Proof::Unix { uid, gid };
    let caller = |name: &str, proofs| (CallerId::parse(name).unwrap(), proofs);
    Callers::new(vec![
        caller("editor-api", vec![Proof::Listener("app".into()), token(EDITOR)]),
        caller("batch-cleaner", vec![unix(Some(1001), None), unix(Some(1002), Some(50))]),
        caller("group", vec![unix(None, Some(60)), unix(None, Some(65534))]),
        caller("nothing-given", vec![unix(None, None)]),
        caller("oncall", vec![token(ONCALL), token(ROTATED), Proof::Listener("door".into())]),
    ])
}

pub(super) fn tcp(listener: &str) -> Peer {
    Peer {
        listener: listener.into(),
        address: PeerAddress::Tcp { address: ([127, 0, 0, 1], 40000).into(), owner: None },
        certificate: None,
        bearer: listener != "app",
        local: true,
    }
}

pub(super) fn unix(listener: &str, uid: u32, gid: u32) -> Peer {
    in_groups(listener, uid, gid, &[])
}

fn in_groups(listener: &str, uid: u32, gid: u32, groups: &[u32]) -> Peer {
    Peer { address: PeerAddress::Unix { uid, gid, groups: groups.into() }, ..tcp(listener) }
}

pub(super) fn presented<'r>(peer: &'r Peer, headers: &'r HeaderMap) -> Presented<'r> {
    let now = "2026-01-15T08:30:00Z".parse().unwrap();
    Presented { peer, method: "DELETE", target: "/v2/p/editing/jobs/j", headers, body: None, now }
}

fn identify(peer: &Peer, lines: &[(&'static str, &str)]) -> Result<(String, &'static str), IdentityError> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    let identity = callers().identify(&presented(peer, &headers))?;
    Ok((identity.caller().to_string(), identity.proof().as_str()))
}

#[test]
fn the_connection_proves_a_caller() {
    for (why, peer, expected) in [
        ("by its listener", tcp("app"), Ok(("editor-api", "listener"))),
        ("not by another", tcp("mesh"), Err(NoProof)),
        ("by its user", unix("local", 1001, 7), Ok(("batch-cleaner", "unix"))),
        ("by user and group", unix("local", 1002, 50), Ok(("batch-cleaner", "unix"))),
        ("not by one of them", unix("local", 1002, 51), Err(NoProof)),
        ("not by the other", unix("local", 1003, 50), Err(NoProof)),
        ("by its group", unix("local", 1, 60), Ok(("group", "unix"))),
        ("by a supplementary group", in_groups("local", 1, 1, &[7, 60]), Ok(("group", "unix"))),
        (
            "by user and supplementary group",
            in_groups("local", 1002, 1, &[50]),
            Ok(("batch-cleaner", "unix")),
        ),
        ("not by a group alone", in_groups("local", 1003, 1, &[50]), Err(NoProof)),
        ("not by two callers' groups", in_groups("local", 1001, 1, &[60]), Err(Conflict)),
        ("not by the group that nobody can be told by", in_groups("local", 1, 1, &[65534]), Err(NoProof)),
        (
            "by its user, whoever else reaches the listener",
            unix("app", 2000, 7),
            Ok(("editor-api", "listener")),
        ),
        ("not as root where nothing is given", unix("local", 0, 0), Err(NoProof)),
        ("not by two callers' proofs", unix("app", 1001, 7), Err(Conflict)),
        ("not by two callers' ids", unix("local", 1001, 60), Err(Conflict)),
    ] {
        let expected = expected.map(|(caller, proof)| (caller.to_owned(), proof));
        assert_eq!(identify(&peer, &[]), expected, "{why}");
    }
}

#[test]
fn a_token_proves_a_caller_and_no_wrong_one_is_passed_over() {
    let (proxy, origin) = ("proxy-authorization", "authorization");
    let sdk = "SDK-HMAC-SHA256 Access=dummy, SignedHeaders=host, Signature=00";
    for (why, peer, lines, expected) in [
        ("proxy header", tcp("mesh"), &[(proxy, ONCALL)][..], Ok(("oncall", "bearer"))),
        ("origin header", tcp("mesh"), &[(origin, ONCALL)], Ok(("oncall", "bearer"))),
        ("second token", tcp("mesh"), &[(origin, ROTATED)], Ok(("oncall", "bearer"))),
        (
            "two tokens of one caller",
            tcp("mesh"),
            &[(proxy, ONCALL), (origin, ROTATED)],
            Ok(("oncall", "bearer")),
        ),
        ("two tokens of two callers", tcp("mesh"), &[(proxy, ONCALL), (origin, EDITOR)], Err(Conflict)),
        ("one right, one wrong", tcp("mesh"), &[(proxy, ONCALL), (origin, NOBODY)], Err(WrongToken)),
        ("one wrong, one right", tcp("mesh"), &[(proxy, NOBODY), (origin, ONCALL)], Err(WrongToken)),
        ("nobody's", tcp("mesh"), &[(proxy, NOBODY)], Err(WrongToken)),
        ("nobody's, though the listener proves", tcp("door"), &[(proxy, NOBODY)], Err(WrongToken)),
        ("nobody's, though the user proves", unix("local", 1001, 7), &[(proxy, NOBODY)], Err(WrongToken)),
        ("the strongest is recorded", tcp("door"), &[(origin, ONCALL)], Ok(("oncall", "bearer"))),
        ("the listener is another's", tcp("door"), &[(origin, EDITOR)], Err(Conflict)),
        ("the user is another's", unix("local", 1001, 7), &[(origin, ONCALL)], Err(Conflict)),
        ("an SDK's signature is no proof", tcp("mesh"), &[(origin, sdk)], Err(NoProof)),
        ("nor in the way of one", tcp("mesh"), &[(origin, sdk), (proxy, ONCALL)], Ok(("oncall", "bearer"))),
        ("nor of the listener", tcp("door"), &[(origin, sdk)], Ok(("oncall", "listener"))),
        ("not accepted here, nor passed over", tcp("app"), &[(proxy, ONCALL)], Err(TokenNotTaken)),
        ("in the other header", tcp("app"), &[(origin, EDITOR)], Err(TokenNotTaken)),
        ("in one of several", tcp("app"), &[(origin, sdk), (origin, "bearer\tx")], Err(TokenNotTaken)),
        ("without a token", tcp("app"), &[(origin, "BEARER")], Err(TokenNotTaken)),
        (
            "no token",
            tcp("app"),
            &[(origin, "Basic x"), (origin, ""), (proxy, "Bearers x")],
            Ok(("editor-api", "listener")),
        ),
    ] {
        let expected = expected.map(|(caller, proof)| (caller.to_owned(), proof));
        assert_eq!(identify(&peer, lines), expected, "{why}");
    }
}

#[test]
fn headers_that_can_be_read_two_ways_prove_nothing() {
    let (proxy, origin) = ("proxy-authorization", "authorization");
    for lines in [
        &[(proxy, ONCALL), (proxy, ONCALL)][..],
        &[(origin, ONCALL), (origin, ROTATED)],
        &[(origin, ONCALL), (origin, "SDK-HMAC-SHA256 x")],
        &[("proxy_authorization", ONCALL)],
        &[("proxy_authorization", ONCALL), (proxy, ONCALL)],
    ] {
        assert!(matches!(identify(&tcp("door"), lines), Err(MalformedToken(_))), "{lines:?}");
    }
    assert_eq!(identify(&tcp("app"), &[("proxy_authorization", ONCALL)]), Err(TokenNotTaken));
}

#[test]
fn a_token_of_two_callers_is_neithers() {
    let shared = || vec![Proof::Bearer(TokenDigest::of(b"shared-0123456789"))];
    let [one, other] = ["one", "other"].map(|name| CallerId::parse(name).unwrap());
    let callers = Callers::new(vec![(one, shared()), (other, shared())]);
    let headers = [(http::header::AUTHORIZATION, HeaderValue::from_static("Bearer shared-0123456789"))];
    let headers = headers.into_iter().collect();
    assert_eq!(callers.identify(&presented(&tcp("mesh"), &headers)), Err(Conflict));
}

#[test]
fn every_caller_is_listed_also_one_that_nothing_proves() {
    let callers = callers();
    let ids: Vec<&str> = callers.ids().iter().map(CallerId::as_str).collect();
    assert_eq!(ids, ["editor-api", "batch-cleaner", "group", "nothing-given", "oncall"]);
}

#[test]
fn a_callers_name_obeys_its_grammar() {
    let longest = "a".repeat(64);
    for text in ["a", "editor-api", "Batch_2.x", "-", ".", &longest] {
        assert_eq!(CallerId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
    }
    for text in ["", "_unknown", "_", "a b", "a/b", "a\n", "é", &"a".repeat(65)] {
        assert_eq!(CallerId::parse(text), Err(CallerIdError), "{text:?}");
    }
}
