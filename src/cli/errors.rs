//! Reports why a command failed.
//!
//! Errors are written immediately, not queued like the log, because the process ends. Each line is one write, because log
//! lines may be written at the same time.

use std::io::{self, IsTerminal, Write};

use chrono::SecondsFormat;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tracing::Level;

use crate::{
    clock,
    config::{LogFormat, Problem, Report, Severity},
};

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `error: …`
    Plain,
    /// As in the JSON log.
    Json,
    /// As in the text log.
    Text,
}

/// Makes errors look like the log in this format. Returns whether that is text.
pub(super) fn tell_as_log(format: LogFormat) -> bool {
    let is_text = match format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    *STYLE.lock() = if is_text { Style::Text } else { Style::Json };
    is_text
}

/// Prints an error with its causes.
pub(super) fn print_error(error: &anyhow::Error) {
    let causes: Vec<String> = error.chain().skip(1).map(ToString::to_string).collect();
    let style = *STYLE.lock();
    print(&match style {
        Style::Plain => format!("error: {error:#}\n"),
        Style::Json | Style::Text => {
            let causes = (!causes.is_empty()).then(|| ("error", causes.join(": ")));
            style.line(Level::ERROR, &error.to_string(), causes.as_slice())
        }
    });
}

/// Prints why a configuration is invalid. On a terminal it quotes the lines.
pub(super) fn print_report(report: &Report) {
    let style = *STYLE.lock();
    print(&match style {
        Style::Text if !io::stderr().is_terminal() => lines(style, report),
        Style::Plain | Style::Text => report.to_string(),
        Style::Json => lines(style, report),
    });
}

fn lines(style: Style, report: &Report) -> String {
    let line = |problem: &Problem| {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARN,
        };
        let hint = problem.hint.iter().map(|hint| ("hint", hint.clone()));
        let fields: Vec<_> = [("place", problem.position())].into_iter().chain(hint).collect();
        style.line(level, &problem.message, &fields)
    };
    report.problems().iter().map(line).collect()
}

impl Style {
    fn line(self, level: Level, message: &str, fields: &[(&str, String)]) -> String {
        let now = clock::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        if self == Self::Json {
            let head = [("timestamp", now), ("level", level.to_string()), ("message", message.to_owned())];
            let line = head.into_iter().chain(fields.iter().cloned());
            let line: Map<String, Value> = line.map(|(name, text)| (name.to_owned(), text.into())).collect();
            return format!("{}\n", Value::from(line));
        }
        let more: String = fields.iter().map(|(name, value)| format!(" {name}={}", json!(value))).collect();
        format!("{now} {level:>5} {message}{more}\n")
    }
}

fn print(text: &str) {
    // If standard error is closed, there is nobody to tell.
    drop(io::stderr().write_all(text.as_bytes()));
}

static STYLE: Mutex<Style> = Mutex::new(Style::Plain);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_looks_as_the_log_does() {
        let fields = [("error", "no \"such\" thing".to_owned())];
        let json = Style::Json.line(Level::ERROR, "cannot listen on a:1", &fields);
        let (start, end) = json.split_at(12);
        assert_eq!(start, "{\"timestamp\"");
        assert!(
            end.ends_with(
                "Z\",\"level\":\"ERROR\",\"message\":\"cannot listen on a:1\",\"error\":\"no \\\"such\\\" thing\"}\n"
            ),
            "{end}"
        );
        let text = Style::Text.line(Level::WARN, "it is odd", &fields);
        assert!(text.ends_with("Z  WARN it is odd error=\"no \\\"such\\\" thing\"\n"), "{text}");
    }
}
