//! Lines of audit records as container runtimes keep what a process prints: CRI's, Docker's `json-file`, and `kubectl logs`.

use std::{borrow::Cow, mem};

use chrono::DateTime;
use serde::{Deserialize, de::IgnoredAny};

use crate::audit::EVENT_PREFIX;

/// The parts of a line whose end was not read yet: runtimes cut where their buffers end, also in short lines.
#[derive(Default)]
pub(super) struct Parts {
    begun: String,
    /// Of the line before, the end never came.
    cut: bool,
}

impl Parts {
    /// Whether the end of a line is still to come.
    pub(super) fn is_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    /// Whether a line was given up since this was asked before.
    pub(super) fn was_cut(&mut self) -> bool {
        mem::take(&mut self.cut)
    }

    /// What the process printed on standard output, without what a container runtime has around it. `None` where it is
    /// of the log, or where its end is still to come.
    pub(super) fn printed<'l>(&mut self, line: &'l str) -> Option<Cow<'l, str>> {
        let (text, is_whole) = without_runtime(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line))?;
        // A record begins here: whoever wrote what was begun did not come to its end.
        if text.starts_with(EVENT_PREFIX) && self.is_begun() {
            self.begun.clear();
            self.cut = true;
        }
        if !is_whole {
            // What is longer than any record is none, with its end or without.
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

/// What a container runtime has a line of standard output around, and whether that is a whole line or its last part.
fn without_runtime(line: &str) -> Option<(Cow<'_, str>, bool)> {
    if line.starts_with(DOCKER)
        && let Ok(Docker { log, stream }) = serde_json::from_str(line)
    {
        return (stream != "stderr").then(|| match log.strip_suffix('\n') {
            Some(whole) => (Cow::Owned(whole.to_owned()), true),
            // Collectors drop the end of the line, which is not cut off there.
            None => {
                let is_whole = serde_json::from_str::<IgnoredAny>(&log).is_ok();
                (Cow::Owned(log), is_whole)
            }
        });
    }
    let (text, is_whole) = match line.split_once(' ') {
        // CRI: when, which stream, and whether the line ends here (`F`) or goes on (`P`), perhaps with more tags.
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

/// Whether it is a line of the proxy's own log.
fn is_log(line: &str) -> bool {
    line.starts_with("{\"timestamp\":") && line.contains(",\"level\":")
}

/// A line in Docker's `json-file`.
#[derive(Deserialize)]
struct Docker {
    log: String,
    stream: String,
}

/// No record is longer.
pub(super) const MAX_LINE: u64 = 1 << 20;
const DOCKER: &str = "{\"log\":";
/// What editors of other systems put before the first line.
const BYTE_ORDER_MARK: char = '\u{feff}';
