//! The contents of manuals, apart from options.

use std::{collections::BTreeMap, fmt, iter::from_fn};

/// The manual of a command, apart from its first line and its options.
pub(super) struct Manual {
    /// What it does, in paragraphs separated by empty lines.
    pub(super) about: &'static str,
    /// The files that it reads or writes, with their purpose.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// Its exit codes and their meanings; 2 only if [not the usual](Self::exits).
    pub(super) exits: &'static [(u8, &'static str)],
    /// Runnable command lines after `$ `, each below a line that says what it does.
    pub(super) examples: &'static str,
}

impl Manual {
    /// Returns all exit codes in order.
    pub(super) fn exits(&self) -> BTreeMap<u8, &'static str> {
        let mut exits = BTreeMap::from([(2, "Invalid command line.")]);
        exits.extend(self.exits.iter().copied());
        exits
    }

    /// Returns what each example does, and its command line, wrapped.
    pub(super) fn examples(&self) -> impl Iterator<Item = (&'static str, String)> {
        let mut lines = self.examples.lines();
        from_fn(move || Some((lines.next()?, broken(lines.next()?.strip_prefix("$ ")?))))
    }
}

/// Wraps a command line for a shell. Every continuation line begins with an option.
fn broken(line: &str) -> String {
    let (mut lines, mut width) = (String::new(), 0);
    for (number, part) in line.split(" -").enumerate() {
        if number > 0 {
            let fits = width + part.len() <= WIDTH;
            width = if fits { width } else { 0 };
            lines.push_str(if fits { " -" } else { " \\\n  -" });
        }
        lines.push_str(part);
        width += part.len() + 2;
    }
    lines
}

/// Formats the part of the long help below the options.
impl fmt::Display for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files;
        if !files.is_empty() {
            writeln!(f, "Files:")?;
            for (name, is) in files {
                writeln!(f, "  {name}\n          {is}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "Exit status:")?;
        for (code, means) in self.exits() {
            writeln!(f, "  {code:>2}  {means}")?;
        }
        writeln!(f, "\nExamples:")?;
        for (number, (does, line)) in self.examples().enumerate() {
            let gap = if number == 0 { "" } else { "\n" };
            let line = line.replace('\n', "\n    ");
            write!(f, "{gap}  {does}:\n    $ {line}\n")?;
        }
        Ok(())
    }
}

/// The width of an example, so that with its indentation it fits into the help.
const WIDTH: usize = 86;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_broken_before_options() {
        let line = "mpc-auth-proxy policy suggest audit.log --config proxy.yaml --format json --bbbbbbbbbbbbbbbbb -c - > x";
        let expected = "mpc-auth-proxy policy suggest audit.log --config proxy.yaml --format json \\\n  --bbbbbbbbbbbbbbbbb -c - > x";
        assert_eq!(broken(line), expected);
    }
}
