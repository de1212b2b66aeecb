//! Compares the members of answers with what this build expects.

use serde_json::Value;

use super::{calls::CallResult, plan::USER_DATA};
use crate::operation::{Segment, Version};

/// A member: its name, the expected value, and the actual one.
pub(super) type Member = (&'static str, String, String);

/// Returns the jobs of a view. `None` if there is no list.
pub(super) fn jobs(result: &CallResult, version: Version) -> Option<&Vec<Value>> {
    let name = match version {
        Version::V1 => "jobs",
        Version::V2 => "job_array",
    };
    result.body.get(name)?.as_array().filter(|_| result.code.is_none())
}

/// Describes the number of jobs in a view, or the answer instead.
pub(super) fn viewed(result: &CallResult, version: Version) -> String {
    jobs(result, version)
        .map_or_else(|| result.to_string(), |jobs| format!("{}, jobs: {}", result.status, jobs.len()))
}

/// Returns the job that was created, found in any form, and a description of that form.
pub(super) fn created(result: &CallResult) -> (Option<Segment>, String) {
    let CallResult { status, body, .. } = result;
    if !(200..300).contains(status) {
        return (None, result.to_string());
    }
    let id = body.get("job_id").unwrap_or(&Value::Null);
    let job = match id {
        Value::String(id) => Segment::parse(id),
        Value::Number(id) => Segment::parse(&id.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => only_id(body),
    };
    let kind =
        if id.as_str().is_some_and(|id| Segment::parse(id).is_none()) { "another text" } else { kind(id) };
    (job, format!("{status}, job_id: {kind}"))
}

/// Returns the id of an answer whose only member has another name.
fn only_id(body: &Value) -> Option<Segment> {
    let members = body.as_object()?;
    let mut values = members.values();
    let (Some(id), None) = (values.next(), values.next()) else { return None };
    Segment::parse(&id.as_str().map_or_else(|| id.to_string(), str::to_owned))
}

/// Compares the members that this build reads, of a job created with this body and version.
pub(super) fn members(shown: &Value, version: Version, job: &Segment, body: &Value) -> Vec<Member> {
    let of = |name: &str| shown.get(name).unwrap_or(&Value::Null);
    let words = match version {
        Version::V1 => V1_WORDS,
        Version::V2 => V2_WORDS,
    };
    let status = of("status");
    let is_known = status.as_str().is_some_and(|word| words.split(", ").any(|known| known == word));
    // Texts of an answer are shown only if they are certainly harmless.
    let status = match status.as_str() {
        Some(_) if is_known => format!("one of {words}"),
        Some(word) if word.len() <= MAX_WORD => word.to_owned(),
        Some(_) => "another text".to_owned(),
        None => kind(status).to_owned(),
    };
    let same =
        |probed: &Value, result: &Value| if result == probed { AS_ASKED } else { kind(result) }.to_owned();
    let id = match of("job_id").as_str() {
        Some(id) if id == job.as_str() => ITS_ID,
        Some(_) => "another text",
        None => kind(of("job_id")),
    };
    let typed = |name, expected: &str| (name, expected.to_owned(), kind(of(name)).to_owned());
    let mut members = vec![
        ("job_id", ITS_ID.to_owned(), id.to_owned()),
        ("status", format!("one of {words}"), status),
        ("user_data", AS_ASKED.to_owned(), same(&USER_DATA.into(), of("user_data"))),
        typed("create_time", "text"),
    ];
    if version == Version::V1 {
        // A create of the other version may be shown differently.
        members.push(typed("edit_task_req", "an object"));
        let is_v1s = of("edit_task_req").get("clips").is_some();
        if is_v1s {
            let request = of("edit_task_req");
            let probed = |name: &str| body.get(name).unwrap_or(&Value::Null);
            let clips = same(probed("clips"), request.get("clips").unwrap_or(&Value::Null));
            members.push(("edit_task_req.clips", AS_ASKED.to_owned(), clips));
            members.push(("edit_type", AS_ASKED.to_owned(), same(probed("edit_type"), of("edit_type"))));
        }
    }
    members
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

const AS_ASKED: &str = "as it was asked for";
/// The longest word for a status, in bytes.
const MAX_WORD: usize = 16;
const ITS_ID: &str = "the job's id, a text";
const V1_WORDS: &str = "INIT, WAITING, PROCESSING, SUCCEED, FAILED, CANCELED";
const V2_WORDS: &str = "WAITING, PROCESSING, SUCCEEDED, FAILED";
