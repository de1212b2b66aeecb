//! The operators one by one, then all of them against a plain reading of the documentation.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::fixture::{self, Asked};
use super::super::{parse_moment, reference};
use super::*;

fn test(text: &str) -> Test {
    fixture::test(text)
}

/// Whether `OPERATOR KEY VALUE,VALUE` holds for a call with these facts.
fn truth(condition: &str, facts: &str) -> Truth {
    let asked = Asked::parse(&format!("editor-api media-prod 100211 {facts}"));
    Condition::new(vec![test(condition)]).holds(&asked.call(), "1111")
}

fn holds(condition: &str, facts: &str) -> bool {
    match truth(condition, facts) {
        Truth::Yes => true,
        Truth::No => false,
        Truth::Unknown(keys) => panic!("{condition} for {facts:?}: {keys:?}"),
    }
}

#[test]
fn an_operator_holds_where_one_value_matches_and_a_negated_one_where_none_does() {
    for (condition, holding, not_holding) in [
        ("StringEquals mpc:JobId 100211,x", &[""][..], &[][..]),
        ("StringEquals mpc:JobId 1002", &[], &[""]),
        ("StringEquals mpc:ProjectId 1111", &[""], &[]),
        ("StringEquals mpc:ProjectId media-prod", &[], &[""]),
        ("StringEquals proxy:Listener app,mesh", &["listener=app", "listener=mesh"], &["listener=App"]),
        ("StringNotEquals proxy:Listener app,mesh", &["listener=App"], &["listener=app", "listener=mesh"]),
        ("StringEqualsIgnoreCase proxy:Listener APP", &["listener=app", "listener=App"], &["listener=a"]),
        ("StringNotEqualsIgnoreCase proxy:Listener APP,x", &["listener=a"], &["listener=app", "listener=X"]),
        ("StringMatch mpc:JobId 100?1*", &[""], &[]),
        ("StringMatch mpc:JobId 100?1", &[], &[""]),
        ("StringNotMatch mpc:JobId tmp-*,1002??", &[], &[""]),
        ("StringNotMatch mpc:JobId tmp-*,keep-*", &[""], &[]),
        ("DateLessThan g:CurrentTime 2027-01-31", &["at=2027-01-30T23:59:59.999Z"], &["at=2027-01-31"]),
        ("DateLessThanEquals g:CurrentTime 2027-01-31", &["at=2027-01-31"], &["at=2027-01-31T00:00:01Z"]),
        ("DateGreaterThan g:CurrentTime 2027-01-31", &["at=2027-01-31T00:00:01Z"], &["at=2027-01-31"]),
        ("DateGreaterThanEquals g:CurrentTime 2027-01-31", &["at=2027-01-31"], &["at=2027-01-30T23:59:59Z"]),
        ("DateLessThan g:CurrentTime 2020-01-01,2027-01-31", &["at=2026-01-01"], &["at=2027-02-01"]),
        (
            "IpAddress g:SourceIp 10.2.0.0/16,::1",
            &["ip=10.2.3.4", "ip=::ffff:10.2.3.4", "ip=::1"],
            &["ip=::2"],
        ),
        ("NotIpAddress g:SourceIp 10.2.0.0/16,::1", &["ip=::2"], &["ip=10.2.3.4", "ip=::ffff:10.2.3.4"]),
        (
            "Bool proxy:Listener true",
            &["listener=true", "listener=TRUE"],
            &["listener=false", "listener=app"],
        ),
        ("Bool proxy:Listener true,false", &["listener=true", "listener=false"], &["listener=app"]),
        ("Null g:SourceIp true", &[""], &["ip=10.2.3.4"]),
        ("Null g:SourceIp false", &["ip=10.2.3.4"], &[""]),
        ("Null g:SourceIp true,false", &["ip=10.2.3.4", ""], &[]),
        ("Null mpc:JobId true", &[], &[""]),
        ("Null g:CurrentTime false", &[""], &[]),
    ] {
        for facts in holding {
            assert!(holds(condition, facts), "{condition} holds for {facts:?}");
        }
        for facts in not_holding {
            assert!(!holds(condition, facts), "{condition} does not hold for {facts:?}");
        }
    }
}

#[test]
fn where_the_key_is_absent_no_value_matches_unless_it_may_be() {
    for (condition, expected) in [
        ("StringEquals proxy:Listener app", false),
        ("StringEqualsIgnoreCase proxy:Listener app", false),
        ("StringMatch proxy:Listener *", false),
        ("Bool proxy:Listener true", false),
        ("IpAddress g:SourceIp 0.0.0.0/0,::/0", false),
        ("StringNotEquals proxy:Listener app", true),
        ("StringNotEqualsIgnoreCase proxy:Listener app", true),
        ("StringNotMatch proxy:Listener *", true),
        ("NotIpAddress g:SourceIp 0.0.0.0/0,::/0", true),
        ("StringEqualsIfExists proxy:Listener app", true),
        ("StringMatchIfExists proxy:IdentifiedBy bearer", true),
        ("BoolIfExists proxy:Listener true", true),
        ("IpAddressIfExists g:SourceIp 10.0.0.0/8", true),
        ("NotIpAddressIfExists g:SourceIp 10.0.0.0/8", true),
    ] {
        assert_eq!(holds(condition, ""), expected, "{condition}");
    }
    // With the key, the suffix changes nothing.
    assert!(!holds("IpAddressIfExists g:SourceIp 10.0.0.0/8", "ip=11.0.0.1"));
    assert!(!holds("NotIpAddressIfExists g:SourceIp 10.0.0.0/8", "ip=10.0.0.1"));
    assert!(holds("DateLessThanIfExists g:CurrentTime 2027-01-31", "at=2027-01-01"));
}

#[test]
fn all_tests_of_a_condition_must_hold_and_the_first_that_does_not_is_named() {
    let tests =
        ["IpAddress g:SourceIp 10.0.0.0/8", "StringEquals proxy:Listener app", "Null mpc:JobId false"];
    let condition = Condition::new(tests.map(test).to_vec());
    let failing = |facts: &str| {
        let asked = Asked::parse(&format!("editor-api media-prod 7 {facts}"));
        condition.first_failing(&asked.call(), "1111").map(|test| test.key().as_str())
    };
    assert_eq!(failing("ip=10.1.1.1 listener=app"), None);
    assert_eq!(failing("ip=10.1.1.1 listener=mesh"), Some("proxy:Listener"));
    assert_eq!(failing("ip=11.1.1.1 listener=mesh"), Some("g:SourceIp"));
    let asked = Asked::parse("editor-api media-prod 7");
    assert_eq!(Condition::default().holds(&asked.call(), "1111"), Truth::Yes);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refusal = |text: &str| {
        let [operator, key, values] = text.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let values: Vec<&str> = values.split(',').filter(|value| !value.is_empty()).collect();
        Test::new(Operator::parse(operator).unwrap(), Key::parse(key).unwrap(), &values)
            .unwrap_err()
            .to_string()
    };
    for (test, expected) in [
        ("StringEquals g:SourceIp 10.0.0.1", "`StringEquals` compares text, and `g:SourceIp` is an address"),
        ("IpAddressIfExists mpc:JobId 1", "`IpAddressIfExists` compares an address, and `mpc:JobId` is text"),
        ("DateLessThan g:SourceIp 1", "`DateLessThan` compares a time, and `g:SourceIp` is an address"),
        ("Bool g:CurrentTime true", "`Bool` compares text, and `g:CurrentTime` is a time"),
        ("StringEquals mpc:JobId ", "without a value there is nothing to compare with"),
        ("Null g:SourceIp yes", "this operator takes true or false"),
        ("Bool proxy:Listener true,1", "this operator takes true or false"),
        (
            "IpAddress g:SourceIp 10.0.0.0/8,10.2.3.4/16",
            "the address has bits beyond the range, which is 10.2.0.0/16",
        ),
        (
            "DateLessThan g:CurrentTime soon",
            "a time is a date (2027-01-31, its first moment in UTC) or a date and time (2027-01-31T18:00:00Z)",
        ),
    ] {
        assert_eq!(refusal(test), expected, "{test}");
    }
    for name in ["", "IfExists", "stringEquals", "StringLike", "NullIfExists", "StringEqualsIfExistsIfExists"]
    {
        assert_eq!(Operator::parse(name), None, "{name}");
    }
    assert_eq!(Key::parse("g:sourceip"), None);
}

#[test]
fn every_operator_has_a_name_of_its_own_and_displays_as_it_is_written() {
    let names: HashSet<&str> = Operator::names().collect();
    assert_eq!(names.len(), 14);
    for name in names.iter().map(ToString::to_string).chain(["StringMatchIfExists".into()]) {
        assert_eq!(Operator::parse(&name).unwrap().to_string(), name);
    }
}

#[test]
fn a_condition_ends_with_the_first_of_its_last_dates() {
    for (tests, expected) in [
        (&["DateLessThan g:CurrentTime 2027-01-31,2028-01-01"][..], Some("2028-01-01")),
        (
            &["DateLessThan g:CurrentTime 2028-01-01", "DateLessThanEquals g:CurrentTime 2027-01-31"],
            Some("2027-01-31"),
        ),
        (&["DateGreaterThan g:CurrentTime 2027-01-31", "Null g:SourceIp true"], None),
        (&[], None),
    ] {
        let condition = Condition::new(tests.iter().map(|text| test(text)).collect());
        assert_eq!(condition.ends(), expected.map(|text| parse_moment(text).unwrap()), "{tests:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_condition_holds_where_the_plain_reading_says_so(
        condition in fixture::condition(), asked in fixture::asked(),
    ) {
        let expected = reference::condition_holds(&condition, &asked.call(), "1111", &asked.plainly());
        let found = match condition.holds(&asked.call(), "1111") {
            Truth::Yes => Some(true),
            Truth::No => Some(false),
            Truth::Unknown(keys) => {
                let unknown = |key: Key| asked.plainly().iter().all(|(known, _)| *known != key.as_str());
                prop_assert!(keys.iter().all(|key| key.is_fact() && unknown(key)));
                None
            }
        };
        prop_assert_eq!(found, expected);
    }
}
