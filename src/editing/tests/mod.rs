//! Bodies and answers: what is accepted, and what is refused.

use super::{
    fault::BodyFault,
    inspect::{InspectedJob, Strictness},
    json,
    places::Places,
};
use crate::{operation::Version, policy::Object};

mod answers;
mod bodies;
mod properties;

/// The result of parsing a caller's body.
fn judged(text: &str, version: Version) -> Result<InspectedJob, BodyFault> {
    InspectedJob::of(&json::read(text.as_bytes(), &json::BODY)?, Places::of(version), Strictness::Caller)
}

fn object(path: &str) -> Object {
    let (bucket, key) = path.split_once('/').unwrap();
    Object::new(bucket, key).unwrap()
}

fn objects(paths: &[&str]) -> Vec<Object> {
    paths.iter().map(|path| object(path)).collect()
}
