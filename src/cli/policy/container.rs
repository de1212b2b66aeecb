//! Extracts audit records from container logs: CRI, Docker's `json-file`, and `kubectl logs`.

use std::{borrow::Cow, mem};

use chrono::DateTime;
use serde::{Deserialize, de::IgnoredAny};

use crate::audit::EVENT_PREFIX;

/// The parts of an unfinished line. Runtimes split even short lines at the end of their buffers.
#[derive(Default)]
pub(super) struct Parts {
    begun: String,
    /// Whether the previous line was given up unfinished.
    cut: bool,
}

impl Parts {
    /// Whether a line is unfinished.
    pub(super) fn is_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Whether a line was given up since the last call.
    pub(super) fn was_cut(&mut self) -> bool {
        mem::take(&mut self.cut)
    }

    /// Returns the process's own line of standard output. `None` for a line of the log, or an unfinished one.
    pub(super) fn printed<'l>(&mut self, line: &'l str) -> Option<Cow<'l, str>> {
        let (text, is_whole) = without_runtime(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))?;
        // A record begins here, so the unfinished line will not be continued.
        if text.starts_with(EVENT_PREFIX) && self.is_begun() {
            self.begun.clear();
            self.cut = true;
        }
        if !is_whole {
            // A line that is longer than any record is not one.
            if self.begun.len() as u64 <= MAX_LINE {
                self.begun.push_str(&text);
            }
            return None;
        }
        let begun = mem::take(&mut self.begun);
        let text = if begun.is_empty() { text } else { Cow::Owned(begun + &text) };
        (!is_log(&text)).then_some(text)
    }
}

/// Removes a container runtime's wrapping, and returns whether it is the end of a line.
fn without_runtime(line: &str) -> Option<(Cow<'_, str>, bool)> {
    if line.starts_with(DOCKER)
        && let Ok(Docker { log, stream }) = serde_json::from_str(line)
    {
        return (stream != "stderr").then(|| match log.strip_suffix('\n') {
            Some(whole) => (Cow::Owned(whole.to_owned()), true),
            // Collectors drop the line end, so the line is complete.
            None => {
                let is_whole = serde_json::from_str::<IgnoredAny>(&log).is_ok();
                (Cow::Owned(log), is_whole)
            }
        });
    }
    let (text, is_whole) = match line.split_once(' ') {
        // CRI: time, stream, and whether the line ends here (`F`) or continues (`P`), possibly with more tags.
        Some((time, rest)) if DateTime::parse_from_rfc3339(time).is_ok() => match rest.split_once(' ') {
            Some(("stderr", _)) => return None,
            Some(("stdout", rest)) => rest
                .split_once(' ')
                .map_or((rest, true), |(tags, text)| (text, tags.split(':').next() != Some("P"))),
            _ => (rest, true),
        },
        _ => (line, true),
    };
    Some((Cow::Borrowed(text), is_whole))
}

/// Whether it is a line of the proxy's log.
fn is_log(line: &str) -> bool {
    line.starts_with("{\"timestamp\":") && line.contains(",\"level\":")
}

/// A line in Docker's `json-file`.
#[derive(Deserialize)]
struct Docker {
    log: String,
    stream: String,
}

/// The maximum length of a record.
pub(super) const MAX_LINE: u64 = 1 << 20;
const DOCKER: &str = "{\"log\":";
/// Editors on other systems put it before the first line.
const BYTE_ORDER_MARK: char = '\u{feff}';
