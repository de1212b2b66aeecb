//! The operators one by one, then all against a literal implementation of the documentation.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::fixture::{self, OwnedCall};
use super::super::{parse_moment, reference};
use super::*;

fn test(text: &str) -> Test {
    fixture::test(text)
}

/// Whether `OPERATOR KEY VALUE,VALUE` holds for a call with these facts.
fn truth(condition: &str, facts: &str) -> Truth {
    let asked = OwnedCall::parse(&format!("editor-api media-prod 100211 {facts}"));
    Condition::new(vec![test(condition)]).holds(&asked.call(), "1111")
}

fn holds(condition: &str, facts: &str) -> bool {
    match truth(condition, facts) {
        Truth::Yes => true,
        Truth::No => false,
        Truth::Unknown(keys) => panic!("{condition} for {facts:?}: {keys:?}"),
    }
}

/// Conditions, each with facts for which it holds and for which it does not.
fn assert_held(cases: &[(&str, &[&str], &[&str])]) {
    for (condition, holding, not_holding) in cases {
        for facts in *holding {
            assert!(holds(condition, facts), "{condition} holds for {facts:?}");
        }
        for facts in *not_holding {
            assert!(!holds(condition, facts), "{condition} does not hold for {facts:?}");
        }
    }
}

#[test]
fn an_operator_holds_where_one_value_matches_and_a_negated_one_where_none_does() {
    assert_held(&[
        ("StringEquals mpc:JobId 100211,x", &[""], &[]),
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
    ]);
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
fn a_fact_of_the_job_is_compared_like_any_text() {
    assert_held(&[
        ("StringEquals mpc:UserData a/1", &["mpc:UserData=a/1"], &["mpc:UserData=A/1", "mpc:UserData="]),
        ("StringNotEquals mpc:UserData a/1", &["mpc:UserData=a/2", "mpc:UserData="], &["mpc:UserData=a/1"]),
        (
            "StringMatchIfExists mpc:UserData a/*",
            &["mpc:UserData=", "mpc:UserData=a/1"],
            &["mpc:UserData=b/1"],
        ),
        ("Null mpc:UserData true", &["mpc:UserData="], &["mpc:UserData=a"]),
        (
            "StringEquals mpc:JobStatus INIT,WAITING",
            &["mpc:JobStatus=INIT", "mpc:JobStatus=WAITING"],
            &["mpc:JobStatus=PROCESSING", "mpc:JobStatus="],
        ),
        (
            "StringEqualsIgnoreCase mpc:JobStatus waiting",
            &["mpc:JobStatus=WAITING"],
            &["mpc:JobStatus=FAILED"],
        ),
    ]);
}

#[test]
fn of_several_values_each_must_hold_or_one_and_of_none_neither_does() {
    const IN: &str = "mpc:Input=in/a,in/b";
    const OUT: &str = "mpc:Output=out/a/1,tmp/b";
    for (condition, facts, expected) in [
        ("ForAllValues:StringMatch mpc:Input in/*", IN, true),
        ("ForAllValues:StringMatch mpc:Input in/a,x/*", IN, false),
        ("ForAnyValue:StringMatch mpc:Input in/b,x/*", IN, true),
        ("ForAnyValue:StringMatch mpc:Input x/*", IN, false),
        ("ForAllValues:StringNotMatch mpc:Input x/*", IN, true),
        ("ForAllValues:StringNotMatch mpc:Input x/*,in/a", IN, false),
        ("ForAnyValue:StringNotMatch mpc:Input in/a", IN, true),
        ("ForAnyValue:StringNotMatch mpc:Input in/*", IN, false),
        ("ForAllValues:StringEquals mpc:InputBucket in", IN, true),
        ("ForAnyValue:StringEquals mpc:InputObject b", IN, true),
        ("ForAllValues:StringEquals mpc:OutputBucket out", OUT, false),
        ("ForAnyValue:StringMatch mpc:OutputObject a/*", OUT, true),
        ("ForAllValues:StringEquals mpc:EditType CLIP,MIX", "mpc:EditType=MIX,CLIP", true),
        // The fact has no leading `/`, however it was written.
        ("ForAllValues:StringEquals mpc:InputObject a", "mpc:Input=in//a", true),
        ("ForAllValues:StringMatch mpc:Input *", "mpc:Input=", false),
        ("ForAnyValue:StringMatch mpc:Input *", "mpc:Input=", false),
        ("ForAllValues:StringNotMatch mpc:Input x/y", "mpc:Input=", false),
        ("ForAnyValue:StringNotMatch mpc:Input x/y", "mpc:Input=", false),
        ("ForAllValues:StringMatchIfExists mpc:Input x/y", "mpc:Input=", true),
        ("ForAnyValue:StringNotMatchIfExists mpc:Input x/y", "mpc:Input=", true),
        ("ForAllValues:StringMatchIfExists mpc:Input x/*", IN, false),
        ("Null mpc:InputBucket true", "mpc:Input=", true),
        ("Null mpc:InputBucket false", IN, true),
    ] {
        assert_eq!(holds(condition, facts), expected, "{condition} for {facts}");
    }
}

#[test]
fn what_is_unknown_is_neither_there_nor_absent() {
    for condition in [
        "StringEquals mpc:UserData a",
        "StringNotEquals mpc:UserData a",
        "StringMatchIfExists mpc:UserData *",
        "Null mpc:UserData true",
        "ForAllValues:StringMatch mpc:Input *",
        "ForAnyValue:StringNotMatchIfExists mpc:OutputObject a",
        "Null mpc:EditType true,false",
    ] {
        let keys = Condition::new(vec![test(condition)]).facts();
        assert_eq!(truth(condition, ""), Truth::Unknown(keys), "{condition}");
    }
    let tests = |tests: &[&str]| Condition::new(tests.iter().map(|text| test(text)).collect());
    let both =
        tests(&["StringEquals mpc:UserData a", "StringEquals mpc:JobStatus INIT", "Null g:SourceIp true"]);
    for (facts, expected) in [
        ("", Truth::Unknown([Key::UserData, Key::JobStatus].into_iter().collect())),
        ("mpc:UserData=a", Truth::Unknown(Key::JobStatus.into())),
        ("mpc:UserData=b", Truth::No),
        ("ip=10.0.0.1", Truth::No),
        ("mpc:UserData=a mpc:JobStatus=INIT", Truth::Yes),
    ] {
        let asked = OwnedCall::parse(&format!("oncall media-prod 7 {facts}"));
        assert_eq!(both.holds(&asked.call(), "1111"), expected, "{facts:?}");
    }
}

#[test]
fn a_variable_is_what_the_call_has_letter_by_letter() {
    for (condition, facts, expected) in [
        ("StringMatch mpc:UserData ${proxy:Caller}/*", "mpc:UserData=editor-api/1", true),
        ("StringMatch mpc:UserData ${proxy:Caller}/*", "mpc:UserData=editor-api-2/1", false),
        ("StringMatch mpc:UserData ${proxy:Caller}/*", "mpc:UserData=editor-api", false),
        ("StringMatch mpc:UserData ${proxy:Caller}/*", "mpc:UserData=Editor-api/1", false),
        ("StringEquals mpc:UserData ${proxy:Caller}", "mpc:UserData=editor-api", true),
        ("StringEqualsIgnoreCase mpc:UserData X:${proxy:Caller}", "mpc:UserData=x:EDITOR-API", true),
        ("StringNotMatch mpc:UserData ${proxy:Caller}/*", "mpc:UserData=editor-api/1", false),
        ("StringNotMatch mpc:UserData ${proxy:Caller}/*", "mpc:UserData=oncall/1", true),
        ("StringMatch mpc:UserData a/*/${mpc:ProjectId}", "mpc:UserData=a/b/1111", true),
        // A pattern in a listener's name is taken literally.
        ("StringMatch mpc:UserData ${proxy:Listener}:x", "mpc:UserData=app:x listener=a*", false),
        ("StringMatch mpc:UserData ${proxy:Listener}:x", "mpc:UserData=a*:x listener=a*", true),
        ("StringMatch mpc:UserData ${proxy:Listener}", "mpc:UserData=app", false),
        ("StringEquals mpc:UserData x,${proxy:Listener}", "mpc:UserData=x", true),
        ("StringMatch mpc:UserData a${*}b${?}${$}{c}*", "mpc:UserData=a*b?${c}d", true),
        ("StringMatch mpc:UserData a${*}b", "mpc:UserData=a1b", false),
        ("StringMatch mpc:UserData ${$}{proxy:Caller}", "mpc:UserData=${proxy:Caller}", true),
        ("StringEquals mpc:UserData a${*}b", "mpc:UserData=a*b", true),
        ("ForAllValues:StringMatch mpc:Output out/${proxy:Caller}/*", "mpc:Output=out/editor-api/1", true),
        (
            "ForAllValues:StringMatch mpc:Output out/${proxy:Caller}/*",
            "mpc:Output=out/editor-api/1,out/x/1",
            false,
        ),
        ("StringEquals proxy:Listener ${proxy:Caller}", "listener=editor-api", true),
        ("StringEquals proxy:Caller editor-api", "", true),
        ("StringMatch proxy:Caller editor*", "", true),
        ("StringEquals proxy:Caller oncall", "", false),
    ] {
        assert_eq!(holds(condition, facts), expected, "{condition} for {facts}");
    }
}

#[test]
fn all_tests_of_a_condition_must_hold_and_the_first_that_does_not_is_named() {
    let tests =
        ["IpAddress g:SourceIp 10.0.0.0/8", "StringEquals proxy:Listener app", "Null mpc:JobId false"];
    let condition = Condition::new(tests.map(test).to_vec());
    let failing = |facts: &str| {
        let asked = OwnedCall::parse(&format!("editor-api media-prod 7 {facts}"));
        condition.first_failing(&asked.call(), "1111").map(|test| test.key().as_str())
    };
    assert_eq!(failing("ip=10.1.1.1 listener=app"), None);
    assert_eq!(failing("ip=10.1.1.1 listener=mesh"), Some("proxy:Listener"));
    assert_eq!(failing("ip=11.1.1.1 listener=mesh"), Some("g:SourceIp"));
    let asked = OwnedCall::parse("editor-api media-prod 7");
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
        ("StringEquals mpc:JobId ", "a value is required"),
        (
            "StringMatch mpc:Input a/*",
            "`mpc:Input` may have several values: `StringMatch` does not say how many must match",
        ),
        (
            "ForAnyValue:StringMatch mpc:UserData a",
            "`ForAnyValue:StringMatch` is for several values, but `mpc:UserData` has at most one",
        ),
        (
            "ForAllValues:IpAddress g:SourceIp ::1",
            "`ForAllValues:IpAddress` is for several values, but `g:SourceIp` has at most one",
        ),
        ("ForAnyValue:StringMatch mpc:Input /a/*", "`mpc:Input` never begins with `/`"),
        ("ForAnyValue:StringMatch mpc:OutputObject /a", "`mpc:OutputObject` never begins with `/`"),
        ("ForAnyValue:StringMatch mpc:InputBucket a/*", "a bucket name has no `/`"),
        ("ForAnyValue:StringEquals mpc:Output a", "`mpc:Output` is BUCKET/OBJECT, and this has no `/`"),
        ("StringEquals mpc:JobStatus QUEUED", "unknown job status"),
        ("StringMatch mpc:JobStatus W*", "unknown job status"),
        ("StringEquals mpc:JobStatus waiting", "unknown job status"),
        ("StringMatch mpc:UserData ${proxy:caller}", "unknown variable `${proxy:caller}`"),
        ("StringEquals mpc:UserData ${mpc:UserData}", "unknown variable `${mpc:UserData}`"),
        ("StringEquals mpc:UserData a${", "`${` without a `}` after it"),
        (
            "StringMatch mpc:UserData ${proxy:Caller}-*",
            "the text after `${proxy:Caller}` could be part of another name",
        ),
        (
            "StringEquals mpc:UserData ${mpc:ProjectId}${proxy:Caller}",
            "the text after `${mpc:ProjectId}` could be part of another name",
        ),
        (
            "StringMatch mpc:UserData a/?-${proxy:Caller}",
            "a wildcard before `${proxy:Caller}` could match part of another name",
        ),
        ("Null g:SourceIp yes", "this operator takes true or false"),
        ("Bool proxy:Listener true,1", "this operator takes true or false"),
        (
            "IpAddress g:SourceIp 10.0.0.0/8,10.2.3.4/16",
            "the address has bits set outside the range 10.2.0.0/16",
        ),
        (
            "DateLessThan g:CurrentTime soon",
            "a time is a date (2027-01-31, its first moment in UTC) or a date and time (2027-01-31T18:00:00Z)",
        ),
    ] {
        assert_eq!(refusal(test), expected, "{test}");
    }
    for name in [
        "",
        "IfExists",
        "stringEquals",
        "StringLike",
        "NullIfExists",
        "StringEqualsIfExistsIfExists",
        "ForAllValues:Null",
        "ForAllValues:",
        "forAllValues:StringEquals",
        "ForAnyValue:ForAnyValue:StringEquals",
        "ForAnyValues:StringEquals",
    ] {
        assert_eq!(Operator::parse(name), None, "{name}");
    }
    assert_eq!(Key::parse("g:sourceip"), None);
}

#[test]
fn every_operator_has_a_name_of_its_own_and_displays_as_it_is_written() {
    let names: HashSet<&str> = Operator::names().collect();
    assert_eq!(names.len(), 14);
    for name in names
        .iter()
        .map(ToString::to_string)
        .chain(["StringMatchIfExists".into(), "ForAnyValue:StringNotMatchIfExists".into()])
    {
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
