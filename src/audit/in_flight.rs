//! Calls that are announced and have no record yet. Those are announced again where their file is not the one any more
//! in which they were: so each file can be closed by itself.
//!
//! It is told of every line that was written whole. Where calls are not announced there is none, and nothing is told.

use std::collections::HashMap;

use memchr::memmem;

/// The intents of calls that have no record, by request id.
#[derive(Default)]
pub(super) struct InFlightIntents(HashMap<Box<[u8]>, Box<[u8]>>);

impl InFlightIntents {
    /// This line is in the file.
    pub(super) fn wrote(&mut self, line: &[u8]) {
        let Some(id) = id(line) else { return };
        if line.starts_with(INTENT_PREFIX) {
            self.0.insert(id.into(), line.into());
        } else if line.starts_with(RECORD_PREFIX) {
            self.0.remove(id);
        }
    }

    /// Their lines.
    pub(super) fn intents(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.values().map(|line| line.to_vec())
    }
}

/// The value of `request.id`, which is made of letters, digits and `-._`.
pub(super) fn id(line: &[u8]) -> Option<&[u8]> {
    let start = memmem::find(line, ID)? + ID.len();
    let rest = line.get(start..)?;
    rest.get(..memchr::memchr(b'"', rest)?)
}

pub(super) const INTENT_PREFIX: &[u8] = b"{\"event\":\"intent\",";

pub(super) const RECORD_PREFIX: &[u8] = b"{\"event\":\"request\",";

pub(super) const ID: &[u8] = b"\"request.id\":\"";
