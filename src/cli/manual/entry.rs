//! What a manual page holds of a command besides its options.

use std::{collections::BTreeMap, fmt, iter::from_fn};

/// What is told of a command besides its first line and its options.
pub(super) struct Manual {
    /// What it does, in paragraphs with an empty line between them.
    pub(super) about: &'static str,
    /// The files that it reads or writes, and what they are to it.
    pub(super) files: &'static [(&'static str, &'static str)],
    /// The codes that it exits with, and what each means; 2 where that is [not the usual](Self::exits).
    pub(super) exits: &'static [(u8, &'static str)],
    /// Command lines that run as they are written, each after `$ ` below a line that says what it does.
    pub(super) examples: &'static str,
}

impl Manual {
    /// All codes that it exits with, in their order.
    pub(super) fn exits(&self) -> BTreeMap<u8, &'static str> {
        let mut exits = BTreeMap::from([(2, "Invalid command line.")]);
        exits.extend(self.exits.iter().copied());
        exits
    }

    /// What each example does, and its command line in lines that fit.
    pub(super) fn examples(&self) -> impl Iterator<Item = (&'static str, String)> {
        let mut lines = self.examples.lines();
        from_fn(move || Some((lines.next()?, broken(lines.next()?.strip_prefix("$ ")?))))
    }
}

/// A command line in lines that fit, as a shell joins them: each but the first begins with an option.
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

/// What stands below the options in a long help.
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

/// With what stands before a line and behind it, no wider than a help is.
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
