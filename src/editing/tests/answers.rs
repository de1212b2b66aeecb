//! Answers to views: what is accepted of them, and what is shown of that.

use bytes::Bytes;

use Version::{V1, V2};

use super::*;
use crate::{
    editing::{AnswerError, Answered, Lookup, Viewed, created},
    operation::{Operation, Segment, Target},
    policy::{Fact, Facts, JobStatus, UnknownReason},
};

/// A view of these jobs.
fn view(version: Version, ids: &str) -> Target {
    let number = if version == V1 { 1 } else { 2 };
    let query: Vec<String> = ids.split_whitespace().map(|id| format!("job_id={id}")).collect();
    let ask = if query.is_empty() { "" } else { "?" };
    let target = format!("/v{number}/p/editing/jobs{ask}{}", query.join("&"));
    Target::parse("GET", &target).unwrap()
}

fn read(version: Version, ids: &str, body: &str) -> Answered {
    Answered::read(&view(version, ids), 200, &Bytes::copy_from_slice(body.as_bytes()))
}

fn viewed(version: Version, ids: &str, body: &str) -> Viewed {
    match read(version, ids, body) {
        Answered::Jobs(viewed) => viewed,
        other @ (Answered::NoSuchJob | Answered::Unknown(_)) => panic!("{other:?}: {body}"),
    }
}

fn seven() -> Segment {
    Segment::parse("7").unwrap()
}

fn looked_up(version: Version, body: &str) -> Lookup {
    read(version, "7", body).into_lookup(&seven())
}

#[test]
fn a_lookup_of_several_jobs_says_of_each_what_it_says_of_it() {
    let body = r#"{"total":1,"jobs":[{"job_id":"8","user_data":"w"}]}"#;
    assert_eq!(read(V1, "7 8", body).into_lookup(&seven()), Lookup::Absent);
    let counted = body.replace("\"total\":1", "\"total\":2");
    let seven_of_two = read(V1, "7 8", &counted).into_lookup(&seven());
    assert_eq!(seven_of_two, Lookup::Unknown(AnswerError::Malformed), "it is counted, and may be there");
    let eight = read(V1, "7 8", body).into_lookup(&Segment::parse("8").unwrap());
    let expected = Facts::unknown(UnknownReason::NotInAnswer).with_user_data(Some("w"));
    assert_eq!(eight, Lookup::Facts(expected));
}

#[test]
fn a_version_1_answer_has_every_fact_of_a_job() {
    let body = r#"{"total":1,"jobs":[{"task_id":"7","job_id":"7","status":"SUCCEED","user_data":"a/é","More":1e99,
        "edit_task_req":{"edit_type":["CLIP"],"user_data":"a/\u00e9","clips":[{"input":{"bucket":"in","object":"x"}}],
        "output_setting":{"output":{"bucket":"out","object":"y/","file_name":"z"}},"odd":{"bucket":"b","object":null}}}]}"#;
    let expected = Facts::unknown(UnknownReason::NotInAnswer)
        .with_user_data(Some("a/é"))
        .with_status(Fact::Known(JobStatus::Succeeded))
        .with_edit_type(vec!["CLIP".into()])
        .with_objects(objects(&["in/x", "b/"]), objects(&["out/y/z", "b/"]));
    assert_eq!(looked_up(V1, body), Lookup::Facts(expected));
}

#[test]
fn the_facts_of_a_job_are_those_of_its_create() {
    let create = r#"{"edit_type":["CLIP"],"clips":[{"input":{"bucket":"in","object":"/x","file_name":"y"}}],"user_data":"w"}"#;
    let body = format!(r#"{{"total":1,"jobs":[{{"job_id":"7","user_data":"w","edit_task_req":{create}}}]}}"#);
    let found = judged(create, V1).unwrap();
    let expected = Facts::unknown(UnknownReason::NotInAnswer)
        .with_user_data(found.user_data.as_deref())
        .with_edit_type(found.edit_type)
        .with_objects(found.inputs, found.outputs);
    assert_eq!(looked_up(V1, &body), Lookup::Facts(expected));
}

#[test]
fn what_an_answer_does_not_carry_is_unknown() {
    let unknown = || Facts::unknown(UnknownReason::NotInAnswer);
    for (version, body, expected) in [
        (
            V2,
            r#"{"job_array":[{"job_id":"7","status":"WAITING","user_data":"w","edit_type":["CLIP"],"edit_task_req":{}}]}"#,
            unknown().with_user_data(Some("w")).with_status(Fact::Known(JobStatus::Waiting)),
        ),
        (V2, r#"{"job_array":[{"job_id":"7"}]}"#, unknown().with_user_data(None)),
        (
            V1,
            r#"{"total":1,"jobs":[{"job_id":"7","status":"PAUSED","user_data":null,"edit_type":["MIX"]}]}"#,
            unknown()
                .with_user_data(None)
                .with_status(Fact::Unknown(UnknownReason::UnknownWord))
                .with_edit_type(vec!["MIX".into()]),
        ),
        (
            V1,
            r#"{"jobs":[{"job_id":"7","status":"PREPROCESSING","edit_task_req":{}}]}"#,
            unknown()
                .with_user_data(None)
                .with_status(Fact::Known(JobStatus::Processing))
                .with_edit_type(vec![])
                .with_objects(vec![], vec![]),
        ),
    ] {
        assert_eq!(looked_up(version, body), Lookup::Facts(expected), "{body}");
    }
}

#[test]
fn no_job_is_what_the_cloud_says_is_none_and_nothing_else() {
    for (version, body) in
        [(V1, r#"{"total":0,"jobs":[]}"#), (V1, r#" {"jobs":[]} "#), (V2, r#"{"job_array":[]}"#)]
    {
        assert_eq!(looked_up(version, body), Lookup::Absent, "{body}");
    }
    let refused = |status, body: &str| {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Answered::read(&view(V1, "7"), status, &body).into_lookup(&seven())
    };
    let absent = r#"{"error_code":"MPC.10211","error_msg":"The task does not exist"}"#;
    for status in [400, 403, 404] {
        assert_eq!(refused(status, absent), Lookup::Absent, "{status}");
    }
    for (status, body) in [
        (500, absent),
        (302, absent),
        (204, ""),
        (201, r#"{"total":0,"jobs":[]}"#),
        (403, r#"{"error_code":"MPC.10202"}"#),
        (404, r#"{"error_code":"APIGW.0101"}"#),
        (403, r#"{"error_code":"MPC.10202","error_code":"MPC.10211"}"#),
        (403, r#"{"error_msg":"MPC.10211"}"#),
        (403, "MPC.10211"),
        (403, ""),
    ] {
        assert_eq!(refused(status, body), Lookup::Unknown(AnswerError::Status(status)), "{status} {body}");
    }
}

#[test]
fn what_cannot_be_believed_is_never_taken_for_absent() {
    use AnswerError::{Doubled, Foreign, Malformed};
    let job = r#"{"job_id":"7"}"#;
    for (doubt, version, body) in [
        (Malformed, V1, ""),
        (Malformed, V1, "{}"),
        (Malformed, V1, "[]"),
        (Malformed, V1, r#"{"total":0,"jobs":null}"#),
        (Malformed, V1, r#"{"total":0,"jobs":{}}"#),
        (Malformed, V1, r#"{"job_array":[]}"#),
        (Malformed, V2, r#"{"total":0,"jobs":[]}"#),
        (Malformed, V1, r#"{"total":1,"jobs":[]}"#),
        (Malformed, V1, r#"{"total":"0","jobs":[]}"#),
        (Malformed, V1, r#"{"total":-1,"jobs":[]}"#),
        (Malformed, V1, r#"{"total":0,"jobs":[],"jobs":[]}"#),
        (Malformed, V1, r#"{"total":0,"jobs":[]"#),
        (Malformed, V1, r#"{"total":0,"jobs":[]}<"#),
        (Malformed, V1, r#"{"jobs":[null]}"#),
        (Malformed, V1, r#"{"jobs":[{}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":7}]}"#),
        (Malformed, V1, r#"{"jobs":[{"task_id":"7"}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"a b"}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","user_data":1}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","user_data":"\ud800"}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","user_data":"a","user_data":"b"}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","user_data":"a","edit_task_req":{"user_data":"b"}}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","status":1}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","edit_type":"CLIP"}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","edit_type":["A"],"edit_task_req":{"edit_type":["B"]}}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","edit_task_req":[]}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","edit_task_req":{"input":{"bucket":1}}}]}"#),
        (Malformed, V1, r#"{"jobs":[{"job_id":"7","edit_task_req":{"input":{"bucket":"a/b"}}}]}"#),
        (Foreign, V1, r#"{"jobs":[{"job_id":"8"}]}"#),
        (Foreign, V2, r#"{"job_array":[{"job_id":"07"}]}"#),
        (Foreign, V1, &format!(r#"{{"jobs":[{job},{{"job_id":"8"}}]}}"#)),
        (Doubled, V1, &format!(r#"{{"jobs":[{job},{job}]}}"#)),
    ] {
        assert_eq!(looked_up(version, body), Lookup::Unknown(doubt), "{body}");
    }
}

#[test]
fn a_view_shows_the_permitted_jobs_as_they_came_and_nothing_else() {
    let (a, b, c) =
        (r#"{ "job_id":"a", "X": 1.50 }"#, r#"{"job_id":"b","description":"剪"}"#, r#"{"job_id":"c"}"#);
    let show = |viewed: &Viewed, ids: &str| {
        String::from_utf8(viewed.show(|job| ids.contains(job.id().as_str()), None)).unwrap()
    };
    let v1 = viewed(V1, "a b c", &format!(r#"{{"secret":1,"total":3, "jobs": [{a} , {b},{c}]}}"#));
    assert_eq!(show(&v1, "ac"), format!(r#"{{"total":2,"jobs":[{a},{c}]}}"#));
    assert_eq!(show(&v1, "b"), format!(r#"{{"total":1,"jobs":[{b}]}}"#));
    assert_eq!(show(&v1, ""), r#"{"total":0,"jobs":[]}"#);
    assert_eq!(v1.jobs().iter().map(|job| job.id().as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let v2 = viewed(V2, "a b", &format!(r#"{{"job_array":[{a},{b}],"next":"x"}}"#));
    assert_eq!(show(&v2, "b"), format!(r#"{{"job_array":[{b}]}}"#));
    let list = viewed(V1, "", &format!(r#"{{"jobs":[{a},{c}],"total":112}}"#));
    assert_eq!(show(&list, "c"), format!(r#"{{"total":112,"jobs":[{c}]}}"#));
    assert!(matches!(read(V1, "", r#"{"jobs":[]}"#), Answered::Unknown(AnswerError::Malformed)));
}

#[test]
fn the_callers_own_stamp_is_taken_off_what_it_is_shown() {
    let body = r#"{"total":3,"jobs":[
        {"edit_task_req":{"user_data":"ed\u0069tor/é\n1","x":2},"job_id":"a","user_data": "editor/é\n1" ,"y":3},
        {"job_id":"b","user_data":"editor-2/x"},{"job_id":"c","user_data":"editor/"}]}"#
        .replace("\n1", "\\n1");
    let viewed = viewed(V1, "a b c", &body);
    let shown = String::from_utf8(viewed.show(|_| true, Some("editor"))).unwrap();
    assert_eq!(
        shown,
        r#"{"total":3,"jobs":[{"edit_task_req":{"user_data":"\u00e9\u000a1","x":2},"job_id":"a","user_data": "\u00e9\u000a1" ,"y":3},{"job_id":"b","user_data":"editor-2/x"},{"job_id":"c","user_data":""}]}"#
    );
    let as_they_are: serde_json::Value = serde_json::from_slice(&viewed.show(|_| true, None)).unwrap();
    assert_eq!(as_they_are, serde_json::from_str::<serde_json::Value>(&body).unwrap());
}

#[test]
fn the_id_of_a_new_job_is_read_from_the_answer_or_not_at_all() {
    for (status, body, expected) in [
        (200, r#"{"job_id":"100211"}"#, Some("100211")),
        (200, r#"{"more":{},"job_id":"100211"}"#, Some("100211")),
        (201, r#"{"job_id":"100211"}"#, Some("100211")),
        (302, r#"{"job_id":"100211"}"#, None),
        (200, r#"{"job_id":100211}"#, None),
        (200, r#"{"job_id":"a b"}"#, None),
        (200, r#"{"job_id":"1","job_id":"2"}"#, None),
        (200, "{}", None),
        (200, "", None),
        (400, r#"{"job_id":"100211"}"#, None),
    ] {
        let found = created(status, body.as_bytes());
        assert_eq!(found.as_ref().map(|id| id.as_str()), expected, "{status} {body}");
    }
}

#[test]
fn a_lookup_is_a_view_of_the_job_that_is_cancelled() {
    let cancel = Target::parse("DELETE", "/v2/p/editing/jobs/7").unwrap();
    let lookup = cancel.viewed_by(Operation::view(V1).unwrap()).unwrap();
    let body = Bytes::from_static(br#"{"total":1,"jobs":[{"job_id":"7"}]}"#);
    assert!(matches!(Answered::read(&lookup, 200, &body).into_lookup(&seven()), Lookup::Facts(_)));
}
