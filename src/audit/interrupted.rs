//! Closes the intents of calls that a killed process announced but did not record.
//!
//! When a file is opened, every intent without a record gets one with the outcome `unknown`. The last GiB is read once as a
//! stream; only the ids of open calls are kept, at most as many as one process had in flight. Being killed meanwhile does no
//! harm: the next start closes the rest.
//!
//! Rotated files are not read: calls that were in flight then are announced again in the new file; see `in_flight`.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use memchr::memmem;
use serde_json::{Map, Value};

use super::{
    Outcome,
    in_flight::{INTENT_PREFIX, RECORD_PREFIX, id},
    lock::Lock,
    output::Output,
    record::REQUEST,
};
use crate::reason::{Code, Reason};

/// Records the open intents, if the output is a file that only this process writes. Failures are only logged, because
/// nothing later depends on it.
pub(super) fn close_interrupted(output: &mut Output) {
    let Some((path, lock)) = output.kept_at() else { return };
    let path = path.to_path_buf();
    if lock == Lock::Unavailable {
        let path = path.display();
        tracing::warn!(%path, "another process may be writing to the audit file: its unfinished calls stay open");
        return;
    }
    match OpenIntents::of(&path).and_then(|open| open.close(output)) {
        Ok(0) => {}
        Ok(calls) => tracing::warn!(
            calls,
            "calls interrupted by a killed process are recorded with an unknown outcome"
        ),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot search the audit file for unfinished calls");
        }
    }
}

/// The intents of a file without a record.
struct OpenIntents {
    file: BufReader<File>,
    /// The position of each intent's line, by request id.
    intents: HashMap<Box<[u8]>, Span>,
    /// Whether the bytes read end within a line. At the end of the file this means that its writer was killed half-way.
    torn: bool,
}

#[derive(Clone, Copy)]
struct Span {
    start: u64,
    length: u64,
}

impl OpenIntents {
    fn of(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
        let end = file.seek(SeekFrom::End(0))?;
        let mut start = end.saturating_sub(SCANNED_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut open = Self { file, intents: HashMap::new(), torn: false };
        // The first bytes may be the rest of a line.
        open.torn = start > 0;
        let mut line = Vec::with_capacity(BUFFER);
        while start < end {
            line.clear();
            let length = (&mut open.file).take(BUFFER as u64).read_until(b'\n', &mut line)? as u64;
            if length == 0 {
                break;
            }
            let begins = !std::mem::replace(&mut open.torn, line.last() != Some(&b'\n'));
            if begins && !open.torn {
                open.read(&line, Span { start, length });
            }
            start += length;
        }
        Ok(open)
    }

    /// Reads a line. Our lines begin with their event and the id, before anything of a caller's.
    fn read(&mut self, line: &[u8], span: Span) {
        if is_glued(line) {
            return;
        }
        if line.starts_with(INTENT_PREFIX) && self.intents.len() < MAX_OPEN {
            self.intents.extend(id(line).map(|id| (id.into(), span)));
        } else if line.starts_with(RECORD_PREFIX) && !self.intents.is_empty() {
            id(line).and_then(|id| self.intents.remove(id));
        }
    }

    /// Writes a record for each intent, in order. Returns how many.
    fn close(mut self, output: &mut Output) -> io::Result<usize> {
        if self.torn {
            // A partial line is not a record. It stays, but nothing is appended to it.
            output.append(b"\n".to_vec(), 0);
        }
        let mut spans: Vec<Span> = self.intents.values().copied().collect();
        spans.sort_by_key(|span| span.start);
        let (mut line, mut closed) = (Vec::new(), 0);
        for span in &spans {
            line.clear();
            self.file.seek(SeekFrom::Start(span.start))?;
            (&mut self.file).take(span.length).read_to_end(&mut line)?;
            // Something that looks like an intent but cannot be parsed was not written by us.
            if let Ok(record) = record(&line) {
                output.append(record, 0);
                closed += 1;
            }
        }
        Ok(closed)
    }
}

/// Whether another line begins within this one. A kill can cut off one thread's line while another thread's is written after
/// it. Neither can be parsed then, so neither counts. Quotes in the texts of a line are escaped, so texts cannot cause this.
fn is_glued(line: &[u8]) -> bool {
    line.get(1..).is_some_and(|rest| memmem::find(rest, EVENT_PREFIX.as_bytes()).is_some())
}

/// Returns the record of a call of which only the intent is known.
fn record(intent: &[u8]) -> serde_json::Result<Vec<u8>> {
    let mut record: Map<String, Value> = serde_json::from_slice(intent)?;
    record.insert("event".into(), REQUEST.into());
    record.insert("outcome".into(), Outcome::Unknown.as_str().into());
    record.insert("error.type".into(), Code::Interrupted.as_str().into());
    record.insert("error.reason".into(), Reason::Interrupted.as_str().into());
    record.insert("error.message".into(), Reason::Interrupted.to_string().into());
    let mut line = serde_json::to_vec(&record)?;
    line.push(b'\n');
    Ok(line)
}

/// The beginning of each line of the audit log.
pub const EVENT_PREFIX: &str = "{\"event\":\"";
/// The bytes that are read. A call is open at most until its deadline, and this is minutes at thousands of calls a second.
const SCANNED_BYTES: u64 = 1 << 30;
const BUFFER: usize = 64 * 1024;
/// The maximum number of open intents, far more than calls in flight. The next start would close the rest.
const MAX_OPEN: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::audit::{Record, Target};

    fn record(id: &str) -> Record {
        let mut record = Record::new(id.into(), "app".into(), "127.0.0.1".into(), crate::clock::now());
        record.job_id = Some(format!("job-of-{id}"));
        record
    }

    fn intent(id: &str) -> Vec<u8> {
        record(id).intent().unwrap()
    }

    fn request(id: &str) -> Vec<u8> {
        record(id).line(Duration::ZERO)
    }

    fn closed(path: &Path) -> String {
        let mut output = Output::open(Target::File(path.into()), true).unwrap();
        close_interrupted(&mut output);
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn an_intent_without_a_record_gets_one_with_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let lines = [intent("open-1"), intent("done-2"), request("done-2"), request("refused-3")];
        fs::write(&path, lines.concat()).unwrap();
        let text = closed(&path);
        assert_eq!(text.lines().count(), 5);
        let [mut before, after] = [text.lines().next().unwrap(), text.lines().last().unwrap()]
            .map(|line| serde_json::from_str::<Map<String, Value>>(line).unwrap());
        assert_eq!((&before["event"], &after["event"]), (&"intent".into(), &"request".into()));
        assert_eq!(after["error.type"], "PROXY.Interrupted");
        assert_eq!(
            (&after["http.response.status_code"], &after["duration_ms"]),
            (&Value::Null, &Value::Null)
        );
        for changed in ["event", "outcome", "error.type", "error.reason", "error.message"] {
            before.insert(changed.into(), after[changed].clone());
        }
        assert_eq!(before, after);
        assert_eq!(closed(&path), text, "once");
    }

    #[test]
    fn killed_anywhere_while_closing_every_intent_is_closed_exactly_once_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let ids = ["a", "b", "c"];
        fs::write(&path, ids.map(intent).concat()).unwrap();
        let before = fs::metadata(&path).unwrap().len();
        let whole = closed(&path);
        for length in (before..whole.len() as u64).step_by(11) {
            File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            let text = closed(&path);
            let records: Vec<Map<String, Value>> =
                text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let of = |event: &str| -> Vec<String> {
                let of = records.iter().filter(|record| record["event"] == event);
                of.map(|record| record["request.id"].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(of("intent"), ids, "at {length}");
            assert_eq!(of("request"), ids, "at {length}");
        }
    }

    #[test]
    fn a_record_that_was_cut_off_by_another_line_closes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let cut = |mut line: Vec<u8>| {
            line.truncate(line.len() / 2);
            line
        };
        let lines = [
            [intent("a"), intent("b"), intent("c")].concat(),
            [cut(request("a")), request("b")].concat(),
            [cut(intent("d")), intent("e")].concat(),
            request("c"),
        ];
        fs::write(&path, lines.concat()).unwrap();
        let text = closed(&path);
        let closed_now: Vec<&str> =
            text.lines().filter(|line| line.contains(Code::Interrupted.as_str())).collect();
        let ids: Vec<&[u8]> = closed_now.iter().filter_map(|line| id(line.as_bytes())).collect();
        assert_eq!(ids, [b"a", b"b"]);
        assert_eq!(closed(&path), text, "once");
    }

    #[test]
    fn lines_that_are_not_ours_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let long = "x".repeat(3 * BUFFER);
        let broken = "{\"event\":\"intent\",\"request.id\":\"broken\",}";
        let foreign =
            format!("{broken}\n{long}{{\"event\":\"intent\",\"request.id\":\"no\"\nnot JSON\n\n{long}\n");
        let text =
            [foreign.into_bytes(), intent("open"), b"{\"event\":\"intent\",\"request.id\":\"".to_vec()];
        fs::write(&path, text.concat()).unwrap();
        let text = closed(&path);
        let records: Vec<&str> = text.lines().filter(|line| line.contains("PROXY.Interrupted")).collect();
        assert_eq!(records.len(), 1);
        assert!(records[0].contains("\"request.id\":\"open\""));
    }
}
