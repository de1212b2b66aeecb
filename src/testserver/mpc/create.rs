//! Validates create requests, in the order of their error codes.

use serde_json::Value;

use crate::testserver::{Seen, answer::Problem};

/// Returns the body, if a job can be created from it.
pub(super) fn body_of(request: &Seen, unreadable: &[String]) -> Result<Value, Problem> {
    let kind = request.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::ContentType);
    }
    let body: Value = serde_json::from_slice(&request.body).map_err(|_| Problem::BadParameter)?;
    let well_typed = |name: &str, is: fn(&Value) -> bool| body.get(name).is_none_or(is);
    let is_kinds = |kinds: &Value| kinds.as_array().is_some_and(|kinds| kinds.iter().all(Value::is_string));
    if !body.is_object() || !well_typed("user_data", Value::is_string) || !well_typed("edit_type", is_kinds) {
        return Err(Problem::BadParameter);
    }
    check_objects(&body, unreadable)?;
    Ok(body)
}

/// Checks that every object has a bucket and a key, and that inputs are readable.
fn check_objects(value: &Value, unreadable: &[String]) -> Result<(), Problem> {
    if let Some(bucket) = value.get("bucket") {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let is_path = text("object").is_some_and(|object| !object.split('/').any(|part| part == ".."));
        if bucket.as_str().is_none_or(str::is_empty) || text("location").is_none() || !is_path {
            return Err(Problem::BadPath);
        }
        if unreadable.iter().any(|name| bucket == name) {
            return Err(Problem::Unreadable);
        }
    }
    let members = value.as_object().into_iter().flatten().map(|(_, member)| member);
    let items = value.as_array().into_iter().flatten();
    members.chain(items).try_for_each(|inner| check_objects(inner, unreadable))
}
