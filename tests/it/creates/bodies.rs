//! Accepted bodies: those that can be read in one way only, and name only what the policy allows, wherever
//! that stands.

use serde_json::{Value, json};

use super::{ALL, CREATE, body, create, create_with, creates, made, nothing_is_created, sent, with_rules};

/// A body that is allowed except for the replacement of `x`.
fn with(member: &str) -> String {
    let own = body("editor-api", "editor-api/1");
    format!("{},{member}}}", own.strip_suffix('}').unwrap())
}

#[test]
fn an_object_that_is_not_allowed_is_found_wherever_it_stands() {
    let proxy = with_rules(&[CREATE]).start();
    for member in [
        r#""input":{"bucket":"masters","object":"a"}"#,
        r#""concat":{"inputs":[{"bucket":"media-in","object":"a"},{"bucket":"masters","object":"a"}]}"#,
        r#""mix":{"inputs":[{"input":{"bucket":"masters","object":"a"}}]}"#,
        r#""edit_settings":[{"heads":[{"bucket":"masters","object":"a"}]}]"#,
        r#""edit_settings":[{"output":{"bucket":"media-out","object":"oncall/a"}}]"#,
        r#""concats":[{"av_parameters":[{"output":{"bucket":"masters","object":"a"}}]}]"#,
        // At undocumented places an object counts as read and written.
        r#""x":{"y":[[{"z":{"bucket":"masters","object":"a"}}]]}"#,
        r#""x":{"bucket":"media-in","object":"a"}"#,
        r#""x":{"bucket":"media-out","object":"editor-api/a"}"#,
        r#""input":{"bucket":"media-in","object":"a","x":{"bucket":"masters","object":"a"}}"#,
        r#""input":{"bucket":"\u006dasters","object":"a"}"#,
        r#""input":{"bucket":"media-in/masters","object":"a"}"#,
        r#""output_setting_2":{"output":{"bucket":"masters"}}"#,
    ] {
        let answer = proxy.send(create(&with(member)));
        assert!([400, 403].contains(&answer.status), "{member}: {answer:#?}");
        if answer.status == 403 {
            answer.is_refusal(403, "PROXY.Forbidden");
            // The failing part of the closest rule is named, but not the values it requires.
            let told = answer.error_msg();
            assert!(told.contains("no rule allows this call (caller: `editor-api`); rule `"), "{answer:?}");
            assert!(told.ends_with("comes closest, but its `condition` does not hold"), "{answer:?}");
            proxy.record(&answer).says(json!({
                "policy.effect": "deny", "policy.rule": null, "error.reason": "no_rule", "outcome": "refused",
                "mpc.user_data": "editor-api/1", "mpc.job_id": null, "upstream.attempts": 0,
            }));
        }
    }
    nothing_is_created(&proxy);
    made(&proxy.send(create(&with(r#""input":{"bucket":"media-in","location":"l","object":"a"}"#))));
}

#[test]
fn a_denial_by_a_rule_on_what_is_written_names_it() {
    let deny = "{ id: masters, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'], \
        condition: { 'ForAnyValue:StringEquals': { 'mpc:OutputBucket': masters } } }";
    let proxy = with_rules(&[ALL, deny]).start();
    let answer = proxy
        .send(create(r#"{"output_setting":{"output":{"bucket":"masters","object":"a"}}}"#))
        .refused(403, "PROXY.Forbidden");
    assert!(
        answer.error_msg().contains("rule `masters` at policy.yaml:7 denies it"),
        "{}",
        answer.error_msg()
    );
    proxy.record(&answer).says(json!({ "policy.rule": "masters", "error.reason": "denied_by_rule" }));
    nothing_is_created(&proxy);
}

#[test]
fn what_another_reader_may_read_otherwise_is_refused_and_says_where() {
    let proxy = with_rules(&[ALL]).start();
    let deep = |levels: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    for (body, reason) in [
        ("".to_owned(), "body_not_json"),
        ("{}{}".to_owned(), "body_not_json"),
        ("{} x".to_owned(), "body_not_json"),
        ("{'a':1}".to_owned(), "body_not_json"),
        ("{\"a\":1,}".to_owned(), "body_not_json"),
        ("{\"a\":01}".to_owned(), "body_not_json"),
        ("{\"a\":NaN}".to_owned(), "body_not_json"),
        ("\u{feff}{}".to_owned(), "body_not_json"),
        ("{\"a\":\"\n\"}".to_owned(), "body_not_json"),
        ("[]".to_owned(), "body_no_object"),
        ("\"x\"".to_owned(), "body_no_object"),
        (r#"{"a":1,"a":1}"#.to_owned(), "body_duplicate_name"),
        (r#"{"input":{"bucket":"a","object":"o","bucket":"b"}}"#.to_owned(), "body_duplicate_name"),
        (r#"{"input":{"bucket":"a","buc\u006bet":"b"}}"#.to_owned(), "body_name"),
        (r#"{"Bucket":"a"}"#.to_owned(), "body_name"),
        (r#"{"a.b":1}"#.to_owned(), "body_name"),
        (r#"{"":1}"#.to_owned(), "body_name"),
        (r#"{"userdata":"a"}"#.to_owned(), "body_name_lookalike"),
        (r#"{"input":{"buc_ket":"a"}}"#.to_owned(), "body_name_lookalike"),
        (r#"{"user_data":1}"#.to_owned(), "body_member_type"),
        (r#"{"user_data":null}"#.to_owned(), "body_member_type"),
        (r#"{"edit_type":"CLIP"}"#.to_owned(), "body_member_type"),
        (r#"{"input":{"bucket":["a"],"object":"o"}}"#.to_owned(), "body_member_type"),
        (r#"{"input":{"bucket":"a/b","object":"o"}}"#.to_owned(), "body_bucket"),
        (r#"{"input":{"bucket":"","object":"o"}}"#.to_owned(), "body_bucket"),
        (r#"{"input":{"bucket":"a","object":"x/../o"}}"#.to_owned(), "body_object_path"),
        (r#"{"input":{"bucket":"a","object":"x/%2E%2e/o"}}"#.to_owned(), "body_object_path"),
        (r#"{"input":{"bucket":"a","object":"x//o"}}"#.to_owned(), "body_object_path"),
        (r#"{"input":{"bucket":"a","object":"x\\o"}}"#.to_owned(), "body_object_path"),
        (r#"{"input":{"bucket":"a","object":"\u000ao"}}"#.to_owned(), "body_object_path"),
        (r#"{"output":{"bucket":"a","file_name":"b/c"}}"#.to_owned(), "body_object_path"),
        (r#"{"a":"\ud800"}"#.to_owned(), "body_lone_surrogate"),
        (r#"{"a":"\udc00\ud800"}"#.to_owned(), "body_lone_surrogate"),
        (r#"{"a":"\u0000"}"#.to_owned(), "body_nul"),
        (r#"{"a":1e3}"#.to_owned(), "body_number"),
        (r#"{"a":1234567890123456}"#.to_owned(), "body_number"),
        (r#"{"a":0.1234567890123456}"#.to_owned(), "body_number"),
        (deep(32), "body_too_deep"),
        (deep(100_000), "body_too_deep"),
    ] {
        let answer = proxy.send(create(&body)).refused(400, "PROXY.BadRequest");
        let message = answer.error_msg();
        assert!(message.contains("at byte "), "{message}");
        proxy.record(&answer).says(json!({
            "error.reason": reason, "caller.id": "editor-api", "mpc.action": "mpc:editingTask:create",
            "upstream.attempts": 0, "outcome": "refused",
        }));
    }
    nothing_is_created(&proxy);
    // What is not UTF-8 has no text in this test.
    let mut bytes = create(r#"{"a":"??"}"#).into_bytes();
    let at = bytes.len() - 4;
    bytes[at..at + 2].copy_from_slice(b"\xc3\x28");
    let answer = proxy.send(&bytes);
    proxy.record(&answer).says(json!({ "error.reason": "body_encoding" }));
    made(&proxy.send(create(&deep(31))));
}

#[test]
fn what_is_sent_is_what_was_judged_to_the_last_token() {
    let proxy = with_rules(&[ALL]).start();
    let body = "{ \"b\" : [ 1.50 , -0, 123456789012345,true,null ],\t\"a\":\"\u{e9}\\u00e9\\/\u{7f}\",\r\n\"user_data\":\"\\ud83d\\ude00\" }";
    made(&proxy.send(create(body)));
    let seen = creates(&proxy).remove(0);
    let expected = "{\"b\":[1.50,-0,123456789012345,true,null],\"a\":\"\\u00e9\\u00e9/\\u007f\",\"user_data\":\"\\ud83d\\ude00\"}";
    assert_eq!(String::from_utf8(seen.body).unwrap(), expected);
}

#[test]
fn the_bodies_of_huaweis_own_sdk_are_taken() {
    let vectors = include_str!("../../data/editing.jsonl");
    let mut taken = 0;
    for vector in vectors.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if vector["method"] != "POST" {
            continue;
        }
        let proxy = with_rules(&[ALL]).start();
        let bytes = base64(vector["body_b64"].as_str().unwrap());
        let body = String::from_utf8(bytes).unwrap();
        made(&proxy.send(create_with(vector["path"].as_str().unwrap(), &[], &body)));
        assert_eq!(sent(&creates(&proxy)[0]), serde_json::from_str::<Value>(&body).unwrap());
        taken += 1;
    }
    assert!(taken >= 3, "only {taken}");
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let four = |chunk: &[u8]| {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(digit(*byte)));
        let bits = bits << (6 * (4 - chunk.len()));
        bits.to_be_bytes()[1..chunk.len()].to_vec()
    };
    text.chunks(4).flat_map(four).collect()
}
