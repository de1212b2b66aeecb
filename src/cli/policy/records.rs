//! Which decisions does an audit file tell of? Read one line at a time: such files are large.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context, bail};

use crate::audit::Seen;

/// Hands every decision in the file to `each`. A line that is no record is complained about and left out: the last
/// one of a machine that lost power is cut off. A file without any decision is an error.
pub(super) fn each_decision(
    path: &Path,
    err: &mut impl Write,
    mut each: impl FnMut(Seen),
) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut file, mut line) = (BufReader::new(file), Vec::new());
    let (mut decisions, mut unreadable) = (0_u64, 0_u64);
    for number in 1_u64.. {
        let read = next_line(&mut file, &mut line);
        let problem = match read.with_context(|| format!("cannot read {}:{number}", path.display()))? {
            Line::End => break,
            Line::TooLong => format!("not an audit record: it is longer than {} KiB", LONGEST / 1024),
            Line::Whole => match std::str::from_utf8(&line).map(Seen::parse) {
                Ok(Ok(Some(seen))) => {
                    decisions += 1;
                    each(seen);
                    continue;
                }
                Ok(Ok(None)) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "not an audit record: it is not UTF-8 text".into(),
            },
        };
        unreadable += 1;
        if unreadable <= TOLD {
            writeln!(err, "{}:{number}: {problem}", path.display())?;
        }
    }
    if unreadable > TOLD {
        writeln!(err, "{}: {} lines more are not audit records", path.display(), unreadable - TOLD)?;
    }
    if decisions == 0 {
        bail!("{} holds no decision of a policy", path.display());
    }
    Ok(())
}

enum Line {
    End,
    Whole,
    TooLong,
}

/// Reads a line without its end. Of one that is too long, no more is kept than that it was there.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    if file.by_ref().take(LONGEST).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 == LONGEST {
        file.skip_until(b'\n')?;
        return Ok(Line::TooLong);
    }
    Ok(Line::Whole)
}

/// The number with its word.
pub(super) fn calls(count: u64) -> String {
    if count == 1 { "1 call".into() } else { format!("{count} calls") }
}

/// How many unreadable lines are told one by one.
const TOLD: u64 = 5;
/// No record is longer.
const LONGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_bad_for_the_next_and_none_is_kept_that_does_not_end() {
        let good = fixture::audit(&["allow editor-api listener 127.0.0.1 0a1b 100211"]);
        let long = "x".repeat(3 << 20);
        let mut text = Vec::new();
        for line in
            [good.as_bytes(), b"\xff\n", long.as_bytes(), b"\n", good.as_bytes(), b"{}\n", long.as_bytes()]
        {
            text.extend_from_slice(line);
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, text).unwrap();
        let (mut seen, mut err) = (0, Vec::new());
        each_decision(file.path(), &mut err, |_| seen += 1).unwrap();
        let err = String::from_utf8(err).unwrap().replace(&file.path().display().to_string(), "audit");
        let told: Vec<&str> = err.lines().collect();
        assert_eq!(seen, 2);
        assert_eq!(told[0], "audit:2: not an audit record: it is not UTF-8 text");
        assert_eq!(told[1], "audit:3: not an audit record: it is longer than 1024 KiB");
        assert!(told[2].starts_with("audit:5: not an audit record: missing field"), "{err}");
        assert_eq!(told[3], "audit:6: not an audit record: it is longer than 1024 KiB");

        let (mut lines, mut line) = (&*long.into_bytes(), Vec::new());
        assert!(matches!(next_line(&mut lines, &mut line), Ok(Line::TooLong)));
        assert!(line.capacity() as u64 <= 2 * LONGEST);
    }
}

/// What the tests of `replay` and `suggest` read.
#[cfg(test)]
pub(super) mod fixture {
    use crate::operation::{CREATE, DELETE};

    /// A line for each text `EFFECT CALLER PROOF PEER PROJECT JOB [MODE]`, a minute apart. The job of a call that creates
    /// one is written `+ID`. Facts follow as `KEY=VALUE,VALUE`, and `user=` for the word on a new job.
    pub(in crate::cli::policy) fn audit(calls: &[&str]) -> String {
        (0..).zip(calls).map(|(minute, call)| line(minute, call)).collect()
    }

    fn line(minute: u32, call: &str) -> String {
        let (facts, words): (Vec<&str>, Vec<&str>) = call.split(' ').partition(|word| word.contains('='));
        let facts: Vec<(&str, &str)> = facts.iter().map(|fact| fact.split_once('=').unwrap()).collect();
        let told = facts.iter().filter(|(key, _)| *key != "user");
        let told =
            told.map(|(key, values)| ((*key).to_owned(), values.split(',').collect::<Vec<_>>().into()));
        let (hour, minute) = (minute / 60, minute % 60);
        let created = words[5].strip_prefix('+');
        let action = if created.is_some() { CREATE } else { DELETE };
        let record = serde_json::json!({
            "event": "request", "timestamp": format!("2027-01-15T{hour:02}:{minute:02}:00.000Z"),
            "policy.effect": words[0], "caller.id": words[1], "caller.identified_by": words[2],
            "network.peer.address": words[3], "mpc.project_id": words[4], "mpc.job_id": created.unwrap_or(words[5]),
            "mpc.action": action, "listener": "app", "policy.rule": "old",
            "policy.mode": words.get(6).unwrap_or(&"enforce"),
            "facts": serde_json::Value::Object(told.collect()),
            "mpc.user_data": facts.iter().find(|(key, _)| *key == "user").map(|(_, word)| *word),
        });
        format!("{record}\n")
    }
}
