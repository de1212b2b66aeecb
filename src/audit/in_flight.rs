//! The announced calls that have no record yet. After a rotation they are announced again in the new file, so that each file
//! stands alone.
//!
//! It sees every complete line. It exists only if calls are announced.

use std::collections::HashMap;

use memchr::memmem;

/// The intents without a record, by request id.
#[derive(Default)]
pub(super) struct InFlightIntents(HashMap<Box<[u8]>, Box<[u8]>>);

impl InFlightIntents {
    /// Notes a line that was written.
    pub(super) fn wrote(&mut self, line: &[u8]) {
        let Some(id) = id(line) else { return };
        if line.starts_with(INTENT_PREFIX) {
            self.0.insert(id.into(), line.into());
        } else if line.starts_with(RECORD_PREFIX) {
            self.0.remove(id);
        }
    }

    /// Returns their lines.
    pub(super) fn intents(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.values().map(|line| line.to_vec())
    }
}

/// Returns the value of `request.id`, which consists of letters, digits and `-._`.
pub(super) fn id(line: &[u8]) -> Option<&[u8]> {
    let start = memmem::find(line, ID)? + ID.len();
    let rest = line.get(start..)?;
    rest.get(..memchr::memchr(b'"', rest)?)
}

pub(super) const INTENT_PREFIX: &[u8] = b"{\"event\":\"intent\",";

pub(super) const RECORD_PREFIX: &[u8] = b"{\"event\":\"request\",";

pub(super) const ID: &[u8] = b"\"request.id\":\"";
