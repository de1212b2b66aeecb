//! Bodies of creates: which are accepted, which objects are found, and what is sent.

use serde::Deserialize;

use super::*;
use crate::{
    editing::{Body, Problem},
    policy::Facts,
};

fn sent(text: &str, stamp: Option<&str>) -> Result<String, BodyFault> {
    let body = Body::inspect(text.as_bytes(), Version::V1, stamp)?;
    Ok(String::from_utf8(body.bytes().to_vec()).unwrap())
}

#[test]
fn what_is_sent_is_ascii_in_the_order_and_the_number_tokens_of_what_came() {
    let text = " {\"y\" : [1.50, -0, 100000000000000,0.10],\n\t\"b\":{},\"a\":[],\"x\":null,\"t\":true,\"f\":false,\
                \"user_data\":\"剪🎬é\\u00e9\\ud83c\\udfac \\\" \\\\ \\/ \\n\\u007f~\"}\r\n";
    let expected = r#"{"y":[1.50,-0,100000000000000,0.10],"b":{},"a":[],"x":null,"t":true,"f":false,"#
        .to_owned()
        + r#""user_data":"\u526a\ud83c\udfac\u00e9\u00e9\ud83c\udfac \" \\ / \u000a\u007f~"}"#;
    assert_eq!(sent(text, None).as_ref(), Ok(&expected));
    assert_eq!(sent(&expected, None).as_ref(), Ok(&expected), "it is its own spelling");
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    method: String,
    request_target: String,
    body_b64: String,
}

#[test]
fn what_the_sdks_send_is_accepted_and_understood() {
    let mut count = 0;
    for line in include_str!("../../../tests/data/editing.jsonl").lines() {
        let vector: Vector = serde_json::from_str(line).unwrap();
        if vector.method != "POST" {
            continue;
        }
        let version = if vector.request_target.starts_with("/v1/") { Version::V1 } else { Version::V2 };
        let body = crate::signing::base64(&vector.body_b64);
        let judged = judged(std::str::from_utf8(&body).unwrap(), version).unwrap();
        let expected = match vector.id.as_str() {
            "create-v1-clip" => (
                "editor-api:42",
                vec!["CLIP"],
                vec!["media-in/raw/lesson-1.mp4"],
                vec!["media-out/clips/lesson-1/"],
            ),
            "create-v1-concat-non-ascii" => (
                "剪辑🎬",
                vec!["CONCAT"],
                vec!["media-in/课程/第1讲.mp4", "media-in/课程/片尾 é.mp4"],
                vec!["media-out/课程/成片", "media-out/课程/成片/"],
            ),
            "create-v1-raw-string-body" => ("raw é 剪辑", vec!["CLIP"], vec![], vec![]),
            "create-v2" => (
                "editor-api:42",
                vec![],
                vec!["media-in/raw/lesson-1.mp4", "media-in/raw/lesson-2.mp4"],
                vec!["media-out/clips/lesson-1/"],
            ),
            other => panic!("{other} is new"),
        };
        let found: Vec<&str> = judged.edit_type.iter().map(String::as_str).collect();
        assert_eq!((judged.user_data.as_deref(), found), (Some(expected.0), expected.1), "{}", vector.id);
        assert_eq!(
            (judged.inputs, judged.outputs),
            (objects(&expected.2), objects(&expected.3)),
            "{}",
            vector.id
        );
        let accepted = Body::inspect(&body, version, None).unwrap();
        let as_sent: serde_json::Value = serde_json::from_slice(accepted.bytes()).unwrap();
        assert_eq!(as_sent, serde_json::from_slice::<serde_json::Value>(&body).unwrap(), "{}", vector.id);
        count += 1;
    }
    assert_eq!(count, 4);
}

/// A text that names one object at this place: `a[].b` is `{"a":[{"b":OBJECT}]}`.
fn at_place(place: &str, object: &str) -> String {
    place.rsplit('.').fold(object.to_owned(), |inner, step| match step.strip_suffix("[]") {
        Some(name) => format!("{{\"{name}\":[{inner}]}}"),
        None => format!("{{\"{step}\":{inner}}}"),
    })
}

#[test]
fn an_object_is_read_or_written_at_the_documented_places_and_both_at_any_other() {
    use Version::{V1, V2};
    let (read, written, both) = ((1, 0), (0, 1), (1, 1));
    for (version, place, expected) in [
        (V1, "input", read),
        (V1, "clips[].input", read),
        (V1, "concat.inputs[]", read),
        (V1, "concats[].inputs[]", read),
        (V1, "mix.inputs[].input", read),
        (V1, "edit_settings[].heads[]", read),
        (V1, "edit_settings[].tails[]", read),
        (V1, "image_watermark_settings[].input", read),
        (V1, "concats[].image_watermark_settings[].input", read),
        (V1, "edit_settings[].image_watermarks[].input", read),
        (V1, "output_setting.output", written),
        (V1, "concats[].output", written),
        (V1, "edit_settings[].output", written),
        (V1, "concats[].av_parameters[].output", written),
        (V1, "edit_settings[].av_parameter.output", written),
        (V2, "inputs[].input", read),
        (V2, "output", written),
        (V1, "inputs[].input", both),
        (V1, "output", both),
        (V2, "input", both),
        (V2, "output_setting.output", both),
        (V1, "clips.input", both),
        (V1, "clips[]", both),
        (V1, "clips[].input.input", both),
        (V1, "concats[].inputs[].input", both),
        (V1, "concat.inputs", both),
        (V1, "heads[]", both),
        (V1, "a.b.c.d[]", both),
    ] {
        let text = at_place(place, r#"{"bucket":"b","location":"l","object":"k/"}"#);
        let judged = judged(&text, version).unwrap();
        assert_eq!((judged.inputs.len(), judged.outputs.len()), expected, "{version:?} {place}");
        assert!(judged.inputs.iter().chain(&judged.outputs).all(|found| *found == object("b/k/")), "{place}");
        assert!(Body::inspect(text.as_bytes(), version, None).is_ok(), "{version:?} {place}");
    }
    let root =
        judged(r#"{"bucket":"b","output":{"bucket":"c","object":"/x","input":{"bucket":"d"}}}"#, V2).unwrap();
    assert_eq!(root.inputs, objects(&["b/", "d/"]));
    assert_eq!(root.outputs, objects(&["b/", "c/x", "c/x/", "d/"]));
}

#[test]
fn an_output_is_below_its_key_and_has_the_name_that_a_body_gives_it() {
    for (object, file_name, read, written) in [
        ("out/", "a.mp4", &["b/out/", "b/out/a.mp4"][..], &["b/out/a.mp4"][..]),
        ("", "a.mp4", &["b/", "b/a.mp4"], &["b/a.mp4"]),
        ("/out", "a.mp4", &["b/out", "b/out/a.mp4"], &["b/out/a.mp4"]),
        ("out", "", &["b/out"], &["b/out", "b/out/"]),
        ("out/", "", &["b/out/"], &["b/out/"]),
        ("/", "", &["b/"], &["b/"]),
    ] {
        let named = format!(r#"{{"bucket":"b","object":"{object}","file_name":"{file_name}"}}"#);
        let input = judged(&at_place("input", &named), Version::V1).unwrap();
        assert_eq!((input.inputs, input.outputs), (objects(read), vec![]), "{named}");
        let output = judged(&at_place("output", &named), Version::V2).unwrap();
        assert_eq!((output.inputs, output.outputs), (vec![], objects(written)), "{named}");
    }
    let beside = r#"{"output_filename":"n","output":{"bucket":"b","object":"out"},"input":{"bucket":"c"}}"#;
    let named = judged(&at_place("edit_settings[].av_parameter", beside), Version::V1).unwrap();
    assert_eq!(named.outputs, objects(&["b/out", "b/out/", "b/out/n", "c/", "c/n"]));
    assert_eq!(named.inputs, objects(&["c/"]), "it is the output's name only");
    assert!(sent(&at_place("concats[].av_parameters[]", beside), None).is_ok(), "the readers agree");
}

/// Anything ambiguous to other parsers is refused, with the location and the reason.
fn is_refused(text: &str, at: usize, problem: Problem) {
    assert_eq!(sent(text, None), Err(BodyFault { at, problem }), "{text}");
    assert_eq!(sent(text, Some("editor-api")), Err(BodyFault { at, problem }), "{text}");
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    for (text, at, problem) in [
        ("", 0, Problem::Syntax("expected a value")),
        ("\u{feff}{}", 0, Problem::Syntax("expected a value")),
        ("[]", 0, Problem::NoObject),
        ("null", 0, Problem::NoObject),
        ("{} {}", 3, Problem::Syntax("unexpected text after the value")),
        ("{}\0", 2, Problem::Syntax("unexpected text after the value")),
        (r#"{"a":1,}"#, 7, Problem::Syntax("expected a quoted name")),
        (r#"{"a":[1,]}"#, 8, Problem::Syntax("expected a value")),
        (r#"{"a" 1}"#, 5, Problem::Syntax("expected `:` after a name")),
        (r#"{"a":1 "b":2}"#, 7, Problem::Syntax("expected `,` or `}`")),
        (r#"{"a":[1 2]}"#, 8, Problem::Syntax("expected `,` or `]`")),
        (r#"{"a":"b"#, 7, Problem::Syntax("unterminated string")),
        ("{\"a\":\"\n\"}", 6, Problem::Syntax("a control character must be escaped")),
        (r#"{"a":"\x"}"#, 6, Problem::Syntax("invalid escape")),
        (r#"{"a":"\u12"}"#, 6, Problem::Syntax("expected four hexadecimal digits after `\\u`")),
        (r#"{"a":nul}"#, 5, Problem::Syntax("expected a value")),
        (r#"{"a":'b'}"#, 5, Problem::Syntax("expected a value")),
        (r#"{"a":01}"#, 5, Problem::Syntax("leading zero in a number")),
        (r#"{"a":+1}"#, 5, Problem::Syntax("expected a value")),
        (r#"{"a":1.}"#, 7, Problem::Syntax("expected a digit")),
        (r#"{"a":-}"#, 6, Problem::Syntax("expected a digit")),
        (r#"{"a":NaN}"#, 5, Problem::Syntax("expected a value")),
    ] {
        is_refused(text, at, problem);
    }
    let bytes = Body::inspect(b"{\"a\":\"\xff\"}", Version::V1, None);
    assert_eq!(bytes, Err(BodyFault { at: 6, problem: Problem::Encoding }));
}

#[test]
fn what_readers_of_json_disagree_on_is_refused() {
    let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    let wide = |names: usize| {
        let members: Vec<String> = (0..names).map(|n| format!("\"a{}\":1", n % (names - 1))).collect();
        format!("{{{}}}", members.join(","))
    };
    for (text, at, problem) in [
        (r#"{"a":1e3}"#, 5, Problem::Number),
        (r#"{"a":1.5E-3}"#, 5, Problem::Number),
        (r#"{"a":1234567890123456}"#, 5, Problem::Number),
        (r#"{"a":0.123456789012345}"#, 5, Problem::Number),
        (r#"{"a":1,"b":2,"a":3}"#, 13, Problem::Duplicate),
        (r#"{"b":{"bucket":"x","object":"y","bucket":"z"}}"#, 32, Problem::Duplicate),
        (r#"{"a":"\ud83c"}"#, 6, Problem::Surrogate),
        (r#"{"a":"\udfac"}"#, 6, Problem::Surrogate),
        (r#"{"a":"\ud83c\u0041"}"#, 6, Problem::Surrogate),
        (r#"{"a":"x\u0000"}"#, 7, Problem::Nul),
        (r#"{"A":1}"#, 1, Problem::Name),
        (r#"{"Bucket":"b"}"#, 1, Problem::Name),
        (r#"{"buc-ket":"b"}"#, 1, Problem::Name),
        (r#"{"\u0062ucket":"b"}"#, 1, Problem::Name),
        (r#"{"_bucket":"b"}"#, 1, Problem::Name),
        (r#"{"":1}"#, 1, Problem::Name),
        (r#"{"bücket":1}"#, 1, Problem::Name),
        (r#"{"a":{"buck_et":"b"}}"#, 6, Problem::LookAlike("bucket")),
        (r#"{"filename":"b"}"#, 1, Problem::LookAlike("file_name")),
        (r#"{"userdata":"b"}"#, 1, Problem::LookAlike("user_data")),
        (r#"{"user_data_":"b"}"#, 1, Problem::LookAlike("user_data")),
        (r#"{"edittype":[]}"#, 1, Problem::LookAlike("edit_type")),
        (r#"{"out_put":{}}"#, 1, Problem::LookAlike("output")),
        (r#"{"inputs_":{}}"#, 1, Problem::LookAlike("inputs")),
        (&deep(33), 160, Problem::Depth),
        (&wide(40), 303, Problem::Duplicate),
    ] {
        is_refused(text, at, problem);
    }
    let text = BodyFault { at: 6, problem: Problem::LookAlike("bucket") }.to_string();
    assert_eq!(text, "invalid request body at byte 6: misspelling of `bucket`: correct it or rename it");
}

#[test]
fn what_decides_has_its_type_and_one_reading() {
    for (text, at, problem) in [
        (r#"{"edit_type":"CLIP"}"#, 1, Problem::Type("`edit_type` must be a list of strings")),
        (r#"{"edit_type":["CLIP",1]}"#, 1, Problem::Type("`edit_type` must be a list of strings")),
        (r#"{"input":{"bucket":"a/b","object":"c"}}"#, 10, Problem::Bucket),
        (r#"{"input":{"bucket":"","object":"c"}}"#, 10, Problem::Bucket),
        (r#"{"input":{"bucket":".."}}"#, 10, Problem::Bucket),
        (r#"{"a":{"object":"b/../c"}}"#, 6, Problem::Path("a segment `.` or `..`")),
        (r#"{"a":{"object":"./c"}}"#, 6, Problem::Path("a segment `.` or `..`")),
        (r#"{"a":{"location":".."}}"#, 6, Problem::Path("a segment `.` or `..`")),
        (r#"{"a":{"object":"a//c"}}"#, 6, Problem::Path("`//`")),
        (r#"{"a":{"object":"a\\c"}}"#, 6, Problem::Path("a backslash")),
        (r#"{"a":{"object":"a\nc"}}"#, 6, Problem::Path("a control character")),
        (r#"{"a":{"object":"a\u0085c"}}"#, 6, Problem::Path("a control character")),
        (r#"{"a":{"object":"a%2E%2e"}}"#, 6, Problem::Path("`%2e`, `%2f`, `%5c` or `%00`")),
        (r#"{"a":{"object":"%%2Fa"}}"#, 6, Problem::Path("`%2e`, `%2f`, `%5c` or `%00`")),
        (r#"{"a":{"output_filename":"a/b"}}"#, 6, Problem::Path("a `/` where they are a file name")),
        (r#"{"a":{"output_filename":".."}}"#, 6, Problem::Path("a segment `.` or `..`")),
        (r#"{"a":{"output_file_name":"b"}}"#, 6, Problem::LookAlike("output_filename")),
        (r#"{"a":{"file_name":"a/b"}}"#, 6, Problem::Path("a `/` where they are a file name")),
    ] {
        is_refused(text, at, problem);
    }
    for name in ["bucket", "object", "file_name", "location", "user_data", "output_filename"] {
        for value in ["1", "null", "[]", "{}", "true"] {
            let refused = sent(&format!(r#"{{"a":[{{"{name}":{value}}}]}}"#), None);
            assert!(matches!(refused, Err(BodyFault { at: 7, problem: Problem::Type(_) })), "{name} {value}");
        }
    }
}

#[test]
fn what_only_looks_odd_is_accepted() {
    let deepest = format!("{}1{}", r#"{"a":"#.repeat(32), "}".repeat(32));
    for text in [
        "{}",
        r#"{"a":{"object":"/raw/a.mp4"}}"#,
        r#"{"a":{"object":"..a/b../.c/d"}}"#,
        r#"{"a":{"object":"100%"}}"#,
        r#"{"a":{"object":"%20%2"}}"#,
        r#"{"a":{"object":""}}"#,
        r#"{"buckets":1,"in":2,"put":3,"output_setting":{},"outputting":1}"#,
        r#"{"a":123456789012345,"b":-0.0}"#,
        &deepest,
    ] {
        assert!(sent(text, None).is_ok(), "{text}: {:?}", sent(text, None));
    }
}

#[test]
fn a_stamp_comes_before_the_callers_own_word() {
    for (text, expected) in [
        (r#"{"a":1}"#, r#"{"a":1,"user_data":"editor-api/"}"#),
        (r#"{"user_data":"42","a":1}"#, r#"{"user_data":"editor-api/42","a":1}"#),
        (r#"{"user_data":"editor-api/42"}"#, r#"{"user_data":"editor-api/editor-api/42"}"#),
        (r#"{"user_data":""}"#, r#"{"user_data":"editor-api/"}"#),
        (r#"{"a":{"user_data":"x"}}"#, r#"{"a":{"user_data":"x"},"user_data":"editor-api/"}"#),
        ("{}", r#"{"user_data":"editor-api/"}"#),
    ] {
        assert_eq!(sent(text, Some("editor-api")).as_deref(), Ok(expected), "{text}");
    }
    let stamped = Body::inspect(br#"{"user_data":"42"}"#, Version::V1, Some("editor-api")).unwrap();
    assert_eq!(*stamped.facts(), Facts::of_create(Some("editor-api/42"), vec![], vec![], vec![]));
    let long = |length| format!(r#"{{"user_data":"{}"}}"#, "é".repeat(length));
    assert!(sent(&long(65_535 - 11), Some("editor-api")).is_ok());
    let fault = BodyFault { at: 1, problem: Problem::UserData };
    assert_eq!(sent(&long(65_535 - 10), Some("editor-api")), Err(fault));
    assert!(sent(&long(70_000), None).is_ok(), "without a stamp the cloud says what is too long");
}
