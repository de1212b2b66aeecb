//! Test results in JUnit's XML format, limited to what all consumers understand.

use super::results::{Outcome, Results};

/// Returns the results as one document with one suite per file.
pub(super) fn document(results: &Results) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let Results { passed, failed, cases } = results;
    let mut line = |text: String| xml.push_str(&(text + "\n"));
    line(format!(
        "<testsuites name=\"mpc-auth-proxy policy test\" tests=\"{}\" failures=\"{failed}\">",
        passed + failed
    ));
    for suite in cases.chunk_by(|one, other| one.file == other.file) {
        let failures = suite.iter().filter(|case| !case.passed).count();
        let name = suite.first().map(|case| escaped(&case.file)).unwrap_or_default();
        line(format!("  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\">", suite.len()));
        suite.iter().for_each(|case| line(test_case(case)));
        line("  </testsuite>".into());
    }
    line("</testsuites>".into());
    xml
}

fn test_case(case: &Outcome) -> String {
    let Outcome { file, line, name, passed, expected, decided } = case;
    let (name, file) = (escaped(name), escaped(file));
    let case = format!("    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\"");
    if *passed {
        return case + "/>";
    }
    let message = escaped(&format!("expected {expected}, got {}", decided.effect));
    let detail = escaped(&decided.to_string());
    format!("{case}>\n      <failure message=\"{message}\">{detail}</failure>\n    </testcase>")
}

/// Escapes a text for an attribute or element. Characters that XML cannot contain become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
