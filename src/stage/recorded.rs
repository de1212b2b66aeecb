//! Facts in audit records.

use serde_json::Value;

use crate::{
    audit::{MAX_VALUES, RecordedFacts, bounded_bytes},
    policy::{Facts, Key, Keys},
};

/// Returns the facts that the decision used: `null` if the job has none; unknown facts are left out.
pub(super) fn recorded_values(facts: &Facts, keys: Keys, recorded: RecordedFacts) -> Option<Box<Value>> {
    let known = || keys.iter().filter_map(|key| Some((key, key.known_values(facts)?)));
    let told = match recorded {
        RecordedFacts::Names => known().map(|(key, _)| Value::from(key.as_str())).collect(),
        RecordedFacts::Values => {
            let member = |(key, values): (Key, Vec<&str>)| {
                let mut values =
                    values.into_iter().take(MAX_VALUES).map(|text| Value::from(bounded_bytes(text)));
                let value = match (key.has_several(), values.len()) {
                    (_, 0) => Value::Null,
                    (false, _) => values.next().unwrap_or_default(),
                    (true, _) => values.collect(),
                };
                (key.as_str().to_owned(), value)
            };
            Value::Object(known().map(member).collect())
        }
    };
    Some(Box::new(told))
}
