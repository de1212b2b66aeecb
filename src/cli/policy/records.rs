//! Reads decisions from audit files, one line at a time because they are large.
//!
//! Files may be plain or compressed by a rotation, come from a pipe, or be container logs that also have the proxy's log.

use std::cell::OnceCell;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use flate2::bufread::MultiGzDecoder;

use super::container::{MAX_LINE, Parts};
use crate::audit::ParsedRecord;

/// The audit files to read.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Records {
    /// Files of audit records, oldest first; `-` is standard input. They may be compressed by gzip, or be logs of a
    /// container runtime
    #[arg(value_name = "AUDIT", required = true)]
    files: Vec<PathBuf>,
    /// Standard input, which can be read only once.
    #[arg(skip)]
    input: OnceCell<Vec<u8>>,
}

impl Records {
    /// Creates it for these files.
    pub(super) fn of(files: Vec<PathBuf>) -> Self {
        Self { files, ..Self::default() }
    }

    /// Calls `each` with every decision. A line that is not a record is reported and skipped: a power failure cuts off the
    /// last one. Files without any decision are an error.
    pub(super) fn each_decision(
        &self,
        err: &mut impl Write,
        mut each: impl FnMut(ParsedRecord),
    ) -> anyhow::Result<()> {
        let mut decisions = 0_u64;
        self.each_line(err, |line| {
            if let Some(seen) = ParsedRecord::parse(line)? {
                decisions += 1;
                each(seen);
            }
            Ok::<_, crate::audit::ParseRecordError>(())
        })?;
        if decisions == 0 {
            bail!("{} has no policy decisions", self.names());
        }
        Ok(())
    }

    /// Calls `each` with every line that a sink may have written, and reports its errors with their place.
    pub(super) fn each_line<E: Display>(
        &self,
        err: &mut impl Write,
        mut each: impl FnMut(&str) -> Result<(), E>,
    ) -> anyhow::Result<()> {
        for path in &self.files {
            let mut problems = Problems { path, count: 0 };
            let (mut file, mut line, mut parts) = (self.open(path)?, Vec::new(), Parts::default());
            for number in 1_u64.. {
                let problem = match next_line(&mut file, &mut line) {
                    Ok(Line::End) => {
                        let cut = parts.is_begun().then(|| "not an audit record: its end is missing".into());
                        problems.log(number - 1, cut, err)?;
                        break;
                    }
                    Ok(Line::TooLong) => {
                        Some(format!("not an audit record: longer than {} KiB", MAX_LINE / 1024))
                    }
                    Ok(Line::Whole) => match std::str::from_utf8(&line).map(|line| parts.printed(line)) {
                        Ok(Some(line)) => each(&line).err().map(|error| error.to_string()),
                        Ok(None) => None,
                        Err(_) => Some("not an audit record: not UTF-8 text".into()),
                    },
                    // Like a truncated plain file: what could be read counts.
                    Err(error) if is_of_compression(&error) => {
                        let problem = format!("the rest is unreadable and skipped: {error}");
                        problems.log(number, Some(problem), err)?;
                        break;
                    }
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("cannot read {}:{number}", path.display()));
                    }
                };
                let cut = parts.was_cut().then(|| "the line before it has no end".into());
                problems.log(number, cut, err)?;
                problems.log(number, problem, err)?;
            }
            problems.end(err)?;
        }
        Ok(())
    }

    /// Returns the names of the files.
    pub(super) fn names(&self) -> String {
        self.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    fn open(&self, path: &Path) -> anyhow::Result<Box<dyn BufRead + '_>> {
        let cannot = || format!("cannot read {}", path.display());
        let mut file: Box<dyn BufRead + '_> = match path.to_str() {
            Some("-") => Box::new(Cursor::new(self.input()?)),
            _ => Box::new(BufReader::new(File::open(path).with_context(cannot)?)),
        };
        let compressed = file.fill_buf().with_context(cannot)?.starts_with(GZIP);
        Ok(if compressed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { file })
    }

    fn input(&self) -> anyhow::Result<&[u8]> {
        if let Some(input) = self.input.get() {
            return Ok(input);
        }
        let mut input = Vec::new();
        io::stdin().lock().read_to_end(&mut input).context("cannot read standard input")?;
        Ok(self.input.get_or_init(|| input))
    }
}

/// The reports about the lines of a file.
struct Problems<'p> {
    path: &'p Path,
    count: u64,
}

impl Problems<'_> {
    fn log(&mut self, number: u64, problem: Option<String>, err: &mut impl Write) -> io::Result<()> {
        let Some(problem) = problem else { return Ok(()) };
        self.count += 1;
        if self.count > MAX_BAD_LINES_SHOWN {
            return Ok(());
        }
        writeln!(err, "{}:{number}: {problem}", self.path.display())
    }

    fn end(&self, err: &mut impl Write) -> io::Result<()> {
        if self.count <= MAX_BAD_LINES_SHOWN {
            return Ok(());
        }
        writeln!(
            err,
            "{}: {} more lines are not audit records",
            self.path.display(),
            self.count - MAX_BAD_LINES_SHOWN
        )
    }
}

/// Whether a compressed file is truncated or damaged, rather than unreadable.
fn is_of_compression(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof) && error.raw_os_error().is_none()
}

enum Line {
    End,
    Whole,
    TooLong,
}

/// Reads a line without its end. The text of one that is too long is dropped.
fn next_line(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    if file.by_ref().take(MAX_LINE).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 == MAX_LINE {
        file.skip_until(b'\n')?;
        return Ok(Line::TooLong);
    }
    Ok(Line::Whole)
}

/// The maximum number of unreadable lines that are listed.
const MAX_BAD_LINES_SHOWN: u64 = 5;
const GZIP: &[u8] = &[0x1f, 0x8b];

#[cfg(test)]
mod tests {
    use super::{
        super::fixture::{Folder, audit},
        *,
    };

    const ALLOWED: &[&str] = &["allow editor-api listener 127.0.0.1 0a1b 100211"];

    /// Returns the number of decisions in these files, and the reports about other lines.
    fn count(folder: &Folder, names: &[&str]) -> (usize, String) {
        let mut seen = 0;
        let records = Records::of(names.iter().map(|name| folder.path(name)).collect());
        let counted = |_: &mut Vec<u8>, err: &mut Vec<u8>| {
            records.each_decision(err, |_| seen += 1).map(|()| std::process::ExitCode::SUCCESS)
        };
        let (_, _, err) = folder.printed(counted).unwrap();
        (seen, err)
    }

    fn gzip(text: &str, level: flate2::Compression) -> Vec<u8> {
        let mut compressed = flate2::write::GzEncoder::new(Vec::new(), level);
        compressed.write_all(text.as_bytes()).unwrap();
        compressed.finish().unwrap()
    }

    #[test]
    fn files_are_read_as_rotations_and_container_runtimes_leave_them() {
        let record = audit(ALLOWED);
        let log = r#"{"timestamp":"2027-01-15T08:30:00.123456Z","level":"INFO","message":"serving"}"#;
        let line = record.trim_end();
        let time = "2027-01-15T08:30:00.123456789Z";
        let part = |stream: &str, log: &str| {
            serde_json::json!({ "log": log, "stream": stream, "time": time }).to_string()
        };
        let docker = |stream: &str, log: &str| part(stream, &format!("{log}\n"));
        let cri = |head: &str, text: &str| format!("{time} {head} {text}");
        let lines = |lines: &[String]| (lines.join("\n") + "\n").into_bytes();
        let folder = Folder::with(&[]);
        let compressed = gzip(&record, flate2::Compression::fast());
        for (name, content) in [
            ("plain", format!("{log}\n{record}").into_bytes()),
            ("docker", lines(&[docker("stderr", "text"), docker("stdout", line), docker("stdout", log)])),
            ("cri", lines(&[cri("stderr F", log), cri("stdout F", line), cri("stderr F", "text")])),
            ("collected", lines(&[format!("\u{feff}{}", part("stdout", line)), part("stdout", log)])),
            ("kubectl", lines(&[format!("{time} {line}"), format!("{time} {log}")])),
            // CRI-O and conmon split at the end of their buffer, with other output in between.
            (
                "parts",
                lines(&[
                    cri("stdout P", &line[..50]),
                    cri("stderr F", "text"),
                    cri("stdout P:x", &line[50..90]),
                    cri("stdout F", &line[90..]),
                    part("stdout", &line[..50]),
                    docker("stderr", "text"),
                    docker("stdout", &line[50..]),
                ]),
            ),
            // Two members, as from `cat a.gz b.gz`.
            ("gz", [compressed.clone(), compressed].concat()),
        ] {
            std::fs::write(folder.path(name), content).unwrap();
        }
        let all = ["plain", "docker", "cri", "kubectl", "parts", "collected", "gz"];
        let all = all.map(|name| folder.path(name)).to_vec();
        let (mut seen, mut err) = (Vec::new(), Vec::new());
        Records::of(all).each_decision(&mut err, |decision| seen.push(decision)).unwrap();
        assert_eq!(String::from_utf8(err).unwrap(), "");
        assert_eq!(seen.len(), 9);
        assert!(seen.iter().all(|decision| *decision == seen[0]));
    }

    #[test]
    fn of_what_is_cut_off_the_rest_counts() {
        let record = audit(ALLOWED);
        let many = record.repeat(2000);
        let compressed = gzip(&many, flate2::Compression::none());
        let half = &compressed[..compressed.len() / 2];
        let time = "2027-01-15T08:30:00.123456789Z";
        // As the proxy writes it, with the event first.
        let event = format!("{{\"event\":\"request\",{}", &record[1..].replace("\"event\":\"request\",", ""));
        let begun = format!("{time} stdout F {record}{time} stdout P {}\n", &record[..50]);
        for (content, expected, problem) in [
            (half, 900..1000, "the rest is unreadable and skipped: "),
            (&[&compressed, &b"no more"[..]].concat(), 2000..2001, "audit:2001: the rest is unreadable"),
            (begun.as_bytes(), 1..2, "audit:2: not an audit record: its end is missing"),
            (
                format!("{begun}{time} stdout F {event}").as_bytes(),
                2..3,
                "audit:3: the line before it has no end",
            ),
        ] {
            let folder = Folder::with(&[("whole", &record)]);
            std::fs::write(folder.path("audit"), content).unwrap();
            let (seen, err) = count(&folder, &["audit", "whole"]);
            assert!(expected.contains(&(seen - 1)), "{seen} {err}");
            assert!(err.contains(problem), "{err}");
        }
    }

    #[test]
    fn no_line_is_too_bad_for_the_next_and_none_is_kept_that_does_not_end() {
        let good = audit(ALLOWED);
        let long = "x".repeat(3 << 20);
        let (line, long_line) = (good.as_bytes(), long.as_bytes());
        let text = [line, b"\xff\n", long_line, b"\n", line, b"{}\n", long_line].concat();
        let folder = Folder::with(&[]);
        std::fs::write(folder.path("audit"), text).unwrap();
        let (seen, err) = count(&folder, &["audit"]);
        let told: Vec<&str> = err.lines().collect();
        assert_eq!(seen, 2);
        assert_eq!(told[0], "audit:2: not an audit record: not UTF-8 text");
        assert_eq!(told[1], "audit:3: not an audit record: longer than 1024 KiB");
        assert_eq!(told[2], "audit:5: not an audit record: missing field `event` at column 2");
        assert_eq!(told[3], "audit:6: not an audit record: longer than 1024 KiB");

        let (mut lines, mut line) = (&*long.into_bytes(), Vec::new());
        assert!(matches!(next_line(&mut lines, &mut line), Ok(Line::TooLong)));
        assert!(line.capacity() as u64 <= 2 * MAX_LINE);
    }
}
