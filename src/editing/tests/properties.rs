//! Any body: both parsers find every bucket in it, wherever it is moved and whatever is renamed.

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    editing::{Answered, Body, Problem, naive},
    operation::Target,
};

/// Names of known places, of members that matter, and others.
fn names() -> Vec<&'static str> {
    let names = "input inputs output outputs clips concat concats mix edit_settings heads tails image_watermark_settings \
                 image_watermarks output_setting av_parameters av_parameter a hls";
    names.split(' ').collect()
}

fn named() -> impl Strategy<Value = Value> {
    (
        select(vec!["in", "out", "b.c"]),
        "(/?[a-z]){0,3}/?",
        proptest::option::of("[a-z]{0,3}"),
        proptest::option::of(0..3),
    )
        .prop_map(|(bucket, object, file_name, more)| {
            let mut named = json!({ "location": "l", "object": object, "bucket": bucket });
            if let Some(file_name) = file_name {
                named["file_name"] = file_name.into();
            }
            if more == Some(2) {
                return json!({ "output": named, "output_filename": "n", "object": "x" });
            }
            if let Some(more) = more {
                named["more"] = json!([{ "input": { "bucket": "deep", "n": more } }]);
            }
            named
        })
}

fn body() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![3 => named(), 1 => any::<String>().prop_map(|text| text.replace('\0', "").into()), 1 => (-9_i64..9).prop_map(Value::from)];
    let tree = leaf.prop_recursive(6, 60, 4, |inner| {
        prop_oneof![
            1 => vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => vec((select(names()), inner), 0..4).prop_map(object_of),
        ]
    });
    (vec((select(names()), tree), 0..5), proptest::option::of("[ -~é剪]{0,8}")).prop_map(
        |(members, user_data)| {
            let mut body = object_of(members);
            if let Some(user_data) = user_data {
                body["user_data"] = user_data.into();
            }
            body
        },
    )
}

fn object_of(members: Vec<(&str, Value)>) -> Value {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

/// Every object with a bucket, found by exhaustive search. A file name is joined to it.
fn buckets(value: &Value) -> Vec<Object> {
    let members = value.as_object().into_iter().flatten().map(|(_, member)| member);
    let below = members.chain(value.as_array().into_iter().flatten()).flat_map(buckets);
    let text = |name| value.get(name).and_then(Value::as_str).unwrap_or_default();
    let own = value.get("bucket").map(|_| match text("file_name") {
        "" => Object::new(text("bucket"), text("object")).unwrap(),
        name => Object::joined(text("bucket"), text("object"), name).unwrap(),
    });
    own.into_iter().chain(below).collect()
}

/// All members' names, changeable.
fn places_of(value: &mut Value, at: &mut usize, change: &mut dyn FnMut(usize, &str) -> Option<String>) {
    if let Some(members) = value.as_object_mut() {
        let renamed = std::mem::take(members).into_iter().map(|(name, mut member)| {
            *at += 1;
            let new = change(*at, &name).unwrap_or(name);
            places_of(&mut member, at, change);
            (new, member)
        });
        let renamed: Vec<_> = renamed.collect();
        members.extend(renamed);
    }
    for item in value.as_array_mut().into_iter().flatten() {
        places_of(item, at, change);
    }
}

fn found(body: &Value, version: Version) -> InspectedJob {
    judged(&body.to_string(), version).unwrap_or_else(|fault| panic!("{fault}: {body}"))
}

fn version() -> impl Strategy<Value = Version> {
    select(vec![Version::V1, Version::V2])
}

proptest! {
    #[test]
    fn every_bucket_is_found_and_by_both_readers(body in body(), version in version()) {
        let judged = found(&body, version);
        for object in buckets(&body) {
            prop_assert!(judged.inputs.contains(&object) || judged.outputs.contains(&object), "{object:?}");
        }
        let text = body.to_string();
        prop_assert_eq!(naive::read(text.as_bytes(), version), Some(judged));
        let accepted = Body::inspect(text.as_bytes(), version, None).unwrap();
        prop_assert!(accepted.bytes().is_ascii());
        let stamped = Body::inspect(text.as_bytes(), version, Some("editor")).unwrap();
        let sent: Value = serde_json::from_slice(stamped.bytes()).unwrap();
        let own = body["user_data"].as_str().unwrap_or_default();
        prop_assert_eq!(sent["user_data"].as_str().unwrap(), format!("editor/{own}"));
        prop_assert_eq!(serde_json::from_slice::<Value>(accepted.bytes()).unwrap(), body);
    }

    #[test]
    fn renaming_a_member_hides_nothing(body in body(), which in any::<Index>(), version in version()) {
        let (mut count, mut at) = (0, 0);
        let mut renamed = body.clone();
        places_of(&mut renamed, &mut count, &mut |_, _| None);
        let chosen = which.index(count.max(1)) + 1;
        let deciding = ["bucket", "object", "file_name", "location", "user_data", "output_filename"];
        places_of(&mut renamed, &mut at, &mut |at, name| {
            (at == chosen && !deciding.contains(&name)).then(|| "another".to_owned())
        });
        let (before, after) = (found(&body, version), found(&renamed, version));
        // An object at an unknown place counts as read and written: denied objects stay denied.
        let both: Vec<_> = buckets(&renamed);
        prop_assert_eq!(both.len(), buckets(&body).len());
        prop_assert!(before.inputs.iter().all(|object| after.inputs.contains(object)));
        prop_assert!(before.outputs.iter().all(|object| after.outputs.contains(object)));
    }

    #[test]
    fn moving_an_object_hides_nothing(
        body in body(), object in named(), way in vec(select(names()), 1..5), lists in any::<u8>(), version in version()
    ) {
        let moved = way.iter().enumerate().fold(object.clone(), |inner, (at, name)| {
            let inner = if lists & (1 << at) == 0 { inner } else { json!([inner]) };
            json!({ *name: inner })
        });
        let mut body = body;
        body["moved"] = moved;
        let judged = found(&body, version);
        for object in buckets(&object) {
            prop_assert!(judged.inputs.contains(&object) && judged.outputs.contains(&object), "{object:?}");
        }
    }

    #[test]
    fn what_is_accepted_of_any_text_means_the_same_to_another_reader(
        body in body(), cuts in vec((any::<Index>(), select(b"\"\\{}[]:,0-.eE u\x00\xff".to_vec()), any::<bool>()), 0..3)
    ) {
        let mut text = body.to_string().into_bytes();
        for (at, byte, insert) in cuts {
            let at = at.index(text.len());
            if insert { text.insert(at, byte) } else { text[at] = byte }
        }
        match Body::inspect(&text, Version::V1, None) {
            Ok(accepted) => {
                let meant: Value = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(serde_json::from_slice::<Value>(accepted.bytes()).unwrap(), meant);
                let again = Body::inspect(accepted.bytes(), Version::V1, None).unwrap();
                prop_assert_eq!(again, accepted);
            }
            Err(fault) => prop_assert!(fault.problem != Problem::Disagreement && fault.at <= text.len()),
        }
    }

    #[test]
    fn any_bytes_end_in_a_judgement(bytes in vec(any::<u8>(), 0..64)) {
        let refused = Body::inspect(&bytes, Version::V2, Some("editor"));
        prop_assert!(refused.is_ok() || refused.is_err());
        let view = Target::parse("GET", "/v1/p/editing/jobs").unwrap();
        if let Answered::Jobs(viewed) = Answered::read(&view, 200, &Bytes::from(bytes)) {
            prop_assert!(serde_json::from_slice::<Value>(&viewed.show(|_| true, Some("a"))).is_ok());
        }
    }

    #[test]
    fn what_is_shown_of_any_answer_is_what_was_permitted(
        bodies in vec(body(), 0..5), hidden in any::<u8>(), cut in proptest::option::of((any::<Index>(), any::<u8>()))
    ) {
        let jobs: Vec<Value> = bodies.iter().enumerate().map(|(at, body)| {
            json!({ "job_id": at.to_string(), "user_data": body["user_data"], "edit_task_req": body })
        }).collect();
        let mut text = json!({ "total": 7, "jobs": jobs }).to_string().into_bytes();
        if let Some((at, byte)) = cut {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let view = Target::parse("GET", "/v1/p/editing/jobs").unwrap();
        let Answered::Jobs(viewed) = Answered::read(&view, 200, &Bytes::from(text.clone())) else {
            prop_assert!(cut.is_some());
            return Ok(());
        };
        let permitted = |id: &str| id.parse::<u32>().is_ok_and(|id| id < 8 && hidden & (1 << id) == 0);
        let shown: Value = serde_json::from_slice(&viewed.show(|job| permitted(job.id().as_str()), None)).unwrap();
        let meant: Value = serde_json::from_slice(&text).unwrap();
        let expected: Vec<Value> = meant["jobs"].as_array().unwrap().iter()
            .filter(|job| permitted(job["job_id"].as_str().unwrap())).cloned().collect();
        prop_assert_eq!(&shown["jobs"], &Value::from(expected));
        prop_assert_eq!(&shown["total"], &meant["total"]);
    }
}
