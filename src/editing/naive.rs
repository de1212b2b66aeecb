//! The second parser of bodies: serde_json's tree, walked in the simplest way.
//!
//! It shares neither parser, walk nor table of places with the first, so a mistake in one of them prevents a body from being
//! sent.

use serde_json::Value;

use super::{
    inspect::{InspectedJob, NamedObject},
    places::Role,
};
use crate::operation::Version;

/// Returns the parts of a job that decide. `None` if they cannot be read.
pub(super) fn read(text: &[u8], version: Version) -> Option<InspectedJob> {
    let body: Value = serde_json::from_slice(text).ok()?;
    let mut judged = InspectedJob {
        user_data: optional(&body, "user_data")?.map(str::to_owned),
        ..InspectedJob::default()
    };
    if let Some(kinds) = body.get("edit_type") {
        for kind in kinds.as_array()? {
            judged.edit_type.push(kind.as_str()?.to_owned());
        }
    }
    walk(&body, ValuePath { way: "", beside: "", version }, &mut judged)?;
    Some(judged)
}

/// The place of a value.
struct ValuePath<'p> {
    /// The path in the documentation's notation: `clips[].input`.
    way: &'p str,
    /// The `output_filename` beside it.
    beside: &'p str,
    version: Version,
}

fn walk(
    value: &Value,
    ValuePath { way, beside, version }: ValuePath<'_>,
    judged: &mut InspectedJob,
) -> Option<()> {
    if let Some(bucket) = optional(value, "bucket")? {
        let object = optional(value, "object")?.unwrap_or_default();
        let file_name = optional(value, "file_name")?.unwrap_or_default();
        if !judged.note(role(way, version), NamedObject { bucket, object, file_name, beside }) {
            return None;
        }
    }
    let beside = value.get("output_filename").and_then(Value::as_str).unwrap_or_default();
    for (name, member) in value.as_object().into_iter().flatten().filter(|(_, member)| holds_more(member)) {
        let dot = if way.is_empty() { "" } else { "." };
        walk(member, ValuePath { way: &format!("{way}{dot}{name}"), beside, version }, judged)?;
    }
    if let Some(items) = value.as_array() {
        let way = &format!("{way}[]");
        for item in items.iter().filter(|item| holds_more(item)) {
            walk(item, ValuePath { way, beside: "", version }, judged)?;
        }
    }
    Some(())
}

fn holds_more(value: &Value) -> bool {
    value.is_object() || value.is_array()
}

/// Returns a member that is a text or missing.
fn optional<'v>(value: &'v Value, name: &str) -> Option<Option<&'v str>> {
    match value.get(name) {
        None => Some(None),
        Some(member) => member.as_str().map(Some),
    }
}

/// Returns the role of a place according to the documentation.
fn role(place: &str, version: Version) -> Role {
    match (version, place) {
        (
            Version::V1,
            "input"
            | "clips[].input"
            | "concat.inputs[]"
            | "concats[].inputs[]"
            | "mix.inputs[].input"
            | "edit_settings[].heads[]"
            | "edit_settings[].tails[]"
            | "image_watermark_settings[].input"
            | "concats[].image_watermark_settings[].input"
            | "edit_settings[].image_watermarks[].input",
        )
        | (Version::V2, "inputs[].input") => Role::Read,
        (
            Version::V1,
            "output_setting.output"
            | "concats[].output"
            | "edit_settings[].output"
            | "concats[].av_parameters[].output"
            | "edit_settings[].av_parameter.output",
        )
        | (Version::V2, "output") => Role::Written,
        _ => Role::Both,
    }
}
