//! Signatures of access keys: those of the official SDK are accepted, and nothing that differs from one.

use super::{
    answer::Problem,
    canonical::{Unproven, sha256},
    cloud::State,
    *,
};
use crate::testserver::keys::Keys;

const WITH_TOKEN: &str = "6cc5f8fd9d934679a1c0b16a937bb7836aefe453c4382235825dfeacdc613de6";
const TOKEN: &str = "gQpjbi1ub3J0aC00EXAMPLETOKEN-abc_DEF==";

fn verify(request: &Seen, key: AccessKey, now: DateTime<Utc>) -> Result<(), Unproven> {
    Keys::new(vec![key]).signer(request, now).map(drop)
}

fn request(target: &str, names: &str, signature: &str) -> Seen {
    let authorization =
        format!("SDK-HMAC-SHA256 Access=AKEXAMPLE00000000001, SignedHeaders={names}, Signature={signature}");
    let headers = [
        ("content-type", "application/json"),
        ("x-project-id", PROJECT),
        ("x-sdk-date", "20260115T083000Z"),
        ("host", "mpc.cn-north-4.myhuaweicloud.com"),
        ("authorization", &authorization),
    ];
    Seen {
        method: "DELETE".into(),
        target: target.into(),
        headers: headers.map(|(name, value)| (name.into(), value.into())).into(),
        ..Seen::default()
    }
}

fn by_path() -> Seen {
    request(BY_PATH.0, NAMES, BY_PATH.1)
}

fn permanent() -> AccessKey {
    options().access_keys.remove(0)
}

fn temporary() -> AccessKey {
    AccessKey { security_token: Some(Secret::new(TOKEN)), ..permanent() }
}

fn set(request: &mut Seen, name: &str, value: &str) {
    request.headers.retain(|(n, _)| n != name);
    request.headers.push((name.into(), value.into()));
}

fn replace(request: &mut Seen, from: &str, to: &str) {
    let authorization = request.header("authorization").unwrap().replace(from, to);
    set(request, "authorization", &authorization);
}

#[test]
fn what_the_official_sdk_signed_is_believed() {
    let mut underscore = request(BY_PATH.0, DATE_ONLY, WITHOUT_PROJECT);
    underscore.headers.retain(|(name, _)| name != "x-project-id");
    set(&mut underscore, "x-project_id", PROJECT);
    for request in
        [by_path(), request(BY_QUERY.0, NAMES, BY_QUERY.1), request(BY_V1.0, NAMES, BY_V1.1), underscore]
    {
        assert_eq!(verify(&request, permanent(), signed_at()).err(), None, "{}", request.target);
    }
    let names = format!("{NAMES};x-security-token");
    let mut with_token = request(&by_path().target, &names, WITH_TOKEN);
    set(&mut with_token, "x-security-token", TOKEN);
    assert_eq!(verify(&with_token, temporary(), signed_at()).err(), None);
}

type Change = fn(&mut Seen);

/// Changes to a genuine request, each with the reason for refusing it.
fn assert_refused(cases: Vec<(&str, Change, Unproven)>) {
    for (what, change, expected) in cases {
        let mut request = by_path();
        change(&mut request);
        match (verify(&request, permanent(), signed_at()), expected) {
            (Err(Unproven::Signature(_)), Unproven::Signature(_)) => {}
            (outcome, expected) => assert_eq!(outcome.err(), Some(expected), "{what}"),
        }
    }
}

fn wrong_signature() -> Unproven {
    Unproven::Signature(String::new())
}

fn not_once(name: &str) -> Unproven {
    Unproven::Header(name.into())
}

#[test]
fn an_authorization_that_breaks_the_grammar_is_refused() {
    assert_refused(vec![
        ("upper case", |r| replace(r, "74e24b", "74E24B"), Unproven::Grammar),
        ("cut short", |r| replace(r, "074e", ""), Unproven::Grammar),
        ("another algorithm", |r| replace(r, "SDK-HMAC-SHA256", "AWS4-HMAC-SHA256"), Unproven::Grammar),
        ("no blank", |r| replace(r, ", SignedHeaders", ",SignedHeaders"), Unproven::Grammar),
        ("two of them", |r| r.headers.push(("authorization".into(), "x".into())), not_once("authorization")),
        ("not sorted", |r| replace(r, "content-type;host", "host;content-type"), Unproven::SignedHeaders),
        ("name twice", |r| replace(r, "host;", "host;host;"), Unproven::SignedHeaders),
        ("name in upper case", |r| replace(r, "host;", "Host;"), Unproven::SignedHeaders),
        ("unknown", |r| replace(r, "AKEX", "AKEY"), Unproven::UnknownKey("AKEYAMPLE00000000001".into())),
    ]);
}

#[test]
fn a_change_to_what_was_signed_is_refused() {
    assert_refused(vec![
        ("one digit", |r| replace(r, "=74e2", "=74e3"), wrong_signature()),
        ("method", |r| r.method = "GET".into(), wrong_signature()),
        ("job", |r| r.target.push('2'), wrong_signature()),
        ("query", |r| r.target.push_str("?x=1"), wrong_signature()),
        ("body", |r| r.body.push(b'x'), wrong_signature()),
        ("broken escape", |r| r.target.push_str("%2"), Unproven::Target),
        ("not UTF-8", |r| r.target.push_str("%FF"), Unproven::Target),
        ("signed header changed", |r| set(r, "content-type", "text/plain"), wrong_signature()),
        ("project changed", |r| set(r, "x-project-id", "other"), wrong_signature()),
        ("host changed", |r| set(r, "host", "evil.example"), wrong_signature()),
        ("no host", |r| r.headers.retain(|(n, _)| n != "host"), not_once("host")),
        ("no project", |r| r.headers.retain(|(n, _)| n != "x-project-id"), not_once("x-project-id")),
        ("two", |r| r.headers.push(("x-project-id".into(), PROJECT.into())), not_once("x-project-id")),
        ("unsigned date", |r| replace(r, ";x-sdk-date", ""), Unproven::UnsignedDate),
        ("no date", |r| r.headers.retain(|(n, _)| n != "x-sdk-date"), not_once("x-sdk-date")),
        ("another date", |r| set(r, "x-sdk-date", "20260115T083001Z"), wrong_signature()),
        ("old date", |r| set(r, "x-sdk-date", "20260115T081459Z"), Unproven::DistantDate),
        ("future date", |r| set(r, "x-sdk-date", "20260115T084501Z"), Unproven::DistantDate),
        ("date with signs", |r| set(r, "x-sdk-date", "+2026115T083000Z"), Unproven::MalformedDate),
        ("date with dashes", |r| set(r, "x-sdk-date", "2026-01-15T08:30:00Z"), Unproven::MalformedDate),
        ("token of a permanent key", |r| set(r, "x-security-token", TOKEN), Unproven::SecurityToken),
        (
            "another content hash",
            |r| {
                r.body.push(b'x');
                set(r, "x-sdk-content-sha256", &sha256(b"y"));
            },
            Unproven::Content,
        ),
    ]);
}

#[test]
fn a_date_may_be_15_minutes_off() {
    for (seconds, believed) in [(-901, false), (-900, true), (0, true), (900, true), (901, false)] {
        let now = signed_at() + TimeDelta::seconds(seconds);
        assert_eq!(verify(&by_path(), permanent(), now).is_ok(), believed, "{seconds}");
    }
}

#[test]
fn another_secret_key_is_refused_and_the_canonical_request_shown() {
    let key = AccessKey { secret: Secret::new("another"), ..permanent() };
    let Err(error) = verify(&by_path(), key, signed_at()) else { panic!("believed") };
    let expected = format!(
        "verify aksk signature fail, canonicalRequest:DELETE|/v2/{PROJECT}/editing/jobs/100211/||\
         content-type:application/json|host:mpc.cn-north-4.myhuaweicloud.com|x-project-id:{PROJECT}|\
         x-sdk-date:20260115T083000Z||{NAMES}|{}",
        sha256(b"")
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_temporary_key_needs_its_security_token_signed() {
    let names = format!("{NAMES};x-security-token");
    for (what, names, token) in
        [("absent", NAMES, None), ("another", &*names, Some("another")), ("unsigned", NAMES, Some(TOKEN))]
    {
        let mut request = request(&by_path().target, names, WITH_TOKEN);
        if let Some(token) = token {
            set(&mut request, "x-security-token", token);
        }
        let error = verify(&request, temporary(), signed_at()).err();
        assert_eq!(error, Some(Unproven::SecurityToken), "{what}");
    }
}

#[test]
fn there_is_one_credential() {
    let project = |request: &Seen| {
        let mut cloud = State::new("127.0.0.1:1".parse().unwrap(), options());
        cloud.project_of(request, signed_at()).map(str::to_owned)
    };
    let mut request = by_path();
    assert_eq!(project(&request), Ok(PROJECT.into()));
    set(&mut request, "x-auth-token", "t");
    assert_eq!(project(&request), Err(Problem::Unproven("more than one credential found".into())));
    request.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(project(&request), Err(Problem::TokenRefused));
    request.headers.push(("x-auth-token".into(), "t".into()));
    assert_eq!(project(&request), Err(Problem::Unproven("more than one credential found".into())));
    request.headers.retain(|(name, _)| name != "x-auth-token");
    assert!(matches!(project(&request), Err(Problem::Unproven(text)) if text.starts_with("neither")));
}
