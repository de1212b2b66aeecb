//! Parses the INI files of the official SDKs as Python's `configparser` does.
//!
//! The parsers on crates.io silently keep the last of two equal keys, know neither `[DEFAULT]` nor continuation lines, and
//! skip what they cannot read: the same file could mean one key to a service's SDK and another to the proxy. So this one
//! rejects what `configparser` rejects, and `tests/interop` compares the two. Errors contain none of the text, which is
//! secret.

use std::collections::HashMap;

use zeroize::Zeroizing;

/// Why a file cannot be parsed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IniError {
    /// A line cannot be read.
    #[error("is not an INI file: line {line} {problem}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The section is missing.
    #[error("has no section [{0}]")]
    NoSection(String),
    /// A `%` is not part of a valid interpolation.
    #[error("has an unescaped `%` in `{0}`: write `%%`")]
    Percent(String),
}

/// Values by key, in lower case.
type Values = HashMap<String, Zeroizing<String>>;

#[derive(Default)]
struct Reader {
    sections: HashMap<String, Values>,
    /// The section and the key that a continuation line belongs to.
    section: Option<String>,
    key: Option<String>,
    indent: usize,
}

/// Returns the values of a section, including those of `[DEFAULT]`.
///
/// # Errors
/// See [`IniError`].
pub(super) fn section(text: &str, name: &str) -> Result<Values, IniError> {
    let mut reader = Reader::default();
    for (index, line) in lines(text).enumerate() {
        reader.take(line).map_err(|problem| IniError::Line { line: index + 1, problem })?;
    }
    let missing = || IniError::NoSection(name.to_owned());
    let mut sections = reader.sections;
    let defaults = sections.remove(DEFAULT).unwrap_or_default();
    let mut written = sections.remove(name).ok_or_else(missing)?;
    for (key, value) in defaults {
        written.entry(key).or_insert(value);
    }
    let resolve = |(key, value): (&String, &Zeroizing<String>)| {
        let resolved = resolved(value.trim_end(), &written, MAX_INTERPOLATION_DEPTH);
        resolved.map(|value| (key.clone(), value)).ok_or_else(|| IniError::Percent(key.clone()))
    };
    written.iter().map(resolve).collect()
}

impl Reader {
    fn take(&mut self, line: &str) -> Result<(), &'static str> {
        let text = line.trim();
        if text.starts_with(['#', ';']) {
            return Ok(());
        }
        if text.is_empty() {
            // It may belong to a value; the next line decides.
            if let Some(value) = self.value() {
                value.push('\n');
            }
            return Ok(());
        }
        let indent = line.chars().take_while(|c| c.is_whitespace()).count();
        if indent > self.indent
            && let Some(value) = self.value()
        {
            value.push('\n');
            value.push_str(text);
            return Ok(());
        }
        self.indent = indent;
        match text
            .strip_prefix('[')
            .and_then(|rest| rest.rsplit_once(']'))
            .filter(|(name, _)| !name.is_empty())
        {
            Some((name, _)) => self.begin(name),
            None => self.assign(text),
        }
    }

    fn begin(&mut self, name: &str) -> Result<(), &'static str> {
        let known = self.sections.contains_key(name);
        if known && name != DEFAULT {
            return Err("repeats a section");
        }
        self.sections.entry(name.to_owned()).or_default();
        (self.section, self.key) = (Some(name.to_owned()), None);
        Ok(())
    }

    fn assign(&mut self, text: &str) -> Result<(), &'static str> {
        let section = self.section.as_ref().and_then(|name| self.sections.get_mut(name));
        let section = section.ok_or("is before the first section")?;
        let (key, value) = text.split_once(['=', ':']).ok_or("is neither `[SECTION]` nor `KEY = VALUE`")?;
        let key = key.trim_end().to_lowercase();
        if key.is_empty() {
            return Err("has no key");
        }
        if section.insert(key.clone(), Zeroizing::new(value.trim().to_owned())).is_some() {
            return Err("repeats a key");
        }
        self.key = Some(key);
        Ok(())
    }

    /// Returns the value to which a continuation line would belong.
    fn value(&mut self) -> Option<&mut Zeroizing<String>> {
        self.sections.get_mut(self.section.as_ref()?)?.get_mut(self.key.as_ref()?)
    }
}

/// Splits lines as Python's text files do.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (line, after) = match rest.find(['\r', '\n']) {
            Some(end) => (rest.get(..end)?, rest.get(end..)?),
            None => (rest, ""),
        };
        let after = after.strip_prefix("\r\n").or_else(|| after.strip_prefix(['\r', '\n']));
        rest = after.unwrap_or_default();
        Some(line)
    })
}

/// Replaces `%(KEY)s` and `%%`. `None` if a `%` is not part of a valid interpolation.
fn resolved(value: &str, values: &Values, depth: usize) -> Option<Zeroizing<String>> {
    let mut out = Zeroizing::new(String::with_capacity(value.len()));
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        rest = if let Some(after) = after.strip_prefix('%') {
            out.push('%');
            after
        } else {
            let (key, after) = after.strip_prefix('(')?.split_once(")s")?;
            let value = values.get(&key.to_lowercase()).filter(|_| depth > 0)?;
            out.push_str(&resolved(value.trim_end(), values, depth - 1)?);
            after
        };
    }
    out.push_str(rest);
    Some(out)
}

/// The section whose values all others inherit.
const DEFAULT: &str = "DEFAULT";
/// The maximum depth of `%(KEY)s`.
const MAX_INTERPOLATION_DEPTH: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let values = section(text, "basic").map_err(|error| error.to_string())?;
        let mut values: Vec<_> = values.into_iter().map(|(key, value)| (key, value.to_string())).collect();
        values.sort();
        Ok(values)
    }

    #[test]
    fn a_section_is_read_as_configparser_reads_it() {
        for (text, expected) in [
            ("[basic]\nak = A\nsk=s", &[("ak", "A"), ("sk", "s")][..]),
            ("[basic]\r\nAK : A\rSk\t=  s ;#\r\n", &[("ak", "A"), ("sk", "s ;#")]),
            (
                "[DEFAULT]\nak = D\nsk = s\n[basic]\nak = A\n[DEFAULT]\nx = 1\n",
                &[("ak", "A"), ("sk", "s"), ("x", "1")],
            ),
            ("  [basic] and more\n  ak = A\n# no\n  ; no\n  sk = \"s\"", &[("ak", "A"), ("sk", "\"s\"")]),
            ("[basic]\nak = A\n  B\n\n  C\n\n[other]\nak = no\n", &[("ak", "A\nB\n\nC")]),
            ("[basic]\nak =\nsk = a=b:c\n", &[("ak", ""), ("sk", "a=b:c")]),
            ("[basic]\nak = %(SK)s%%\nsk = s\n", &[("ak", "s%"), ("sk", "s")]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            assert_eq!(read(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_configparser_refuses_is_refused_with_its_line() {
        for (text, expected) in [
            ("", "has no section [basic]"),
            ("[DEFAULT]\nak = A", "has no section [basic]"),
            ("ak = A\n[basic]\n", "is not an INI file: line 1 is before the first section"),
            ("\u{feff}[basic]\nak = A\n", "is not an INI file: line 1 is before the first section"),
            ("[basic]\nak = A\n[basic]\n", "is not an INI file: line 3 repeats a section"),
            ("[basic]\nak = A\nAK = B\n", "is not an INI file: line 3 repeats a key"),
            ("[basic]\nak\n", "is not an INI file: line 2 is neither `[SECTION]` nor `KEY = VALUE`"),
            ("[basic]\n= s3cr3t\n", "is not an INI file: line 2 has no key"),
            ("[basic]\nsk = a%b\n", "has an unescaped `%` in `sk`: write `%%`"),
            ("[basic]\nsk = %(sk)s\n", "has an unescaped `%` in `sk`: write `%%`"),
            ("[basic]\nsk = %(no)s\n", "has an unescaped `%` in `sk`: write `%%`"),
        ] {
            assert_eq!(read(text), Err(expected.to_owned()), "{text:?}");
        }
    }
}
