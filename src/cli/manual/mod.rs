//! The manual page of each command. What it does, its files, its exit codes and its examples, composed in one way for
//! `--help` and for manual pages.
//!
//! `-h` stays a summary. The texts are beside this file, a file for each kind of command; tests of the binary run every
//! example.

mod configuration;
mod generated;
mod operators;
mod policy;
mod proxy;
mod trying;

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

/// What is told of a command besides its first line and its options.
struct Manual {
    /// What it does, in paragraphs with an empty line between them.
    about: &'static str,
    /// The files that it reads or writes, and what they are to it.
    files: &'static [(&'static str, &'static str)],
    /// The codes that it exits with, and what each means.
    exits: &'static [(u8, &'static str)],
    examples: &'static [Example],
}

/// A command line that runs as it is written.
struct Example {
    does: &'static str,
    line: &'static str,
    /// The code that it exits with.
    exits: u8,
}

const fn example(does: &'static str, line: &'static str) -> Example {
    Example { does, line, exits: 0 }
}

/// What a command with this path says, such as `policy explain`.
fn manual(path: &str) -> Option<&'static Manual> {
    Some(match path {
        "" => &proxy::OVERVIEW,
        "run" => &proxy::RUN,
        "wait" => &proxy::WAIT,
        "shutdown" => &proxy::SHUTDOWN,
        "demo" => &trying::DEMO,
        "testserver" => &trying::TESTSERVER,
        "sign" => &trying::SIGN,
        "check" => &configuration::CHECK,
        "doctor" => &configuration::DOCTOR,
        "config" => &configuration::CONFIG,
        "config schema" => &configuration::SCHEMA,
        "policy" => &policy::POLICY,
        "policy explain" => &policy::EXPLAIN,
        "policy test" => &policy::TEST,
        "policy replay" => &policy::REPLAY,
        "policy suggest" => &policy::SUGGEST,
        "freeze" => &operators::FREEZE,
        "unfreeze" => &operators::UNFREEZE,
        "reload" => &operators::RELOAD,
        "status" => &operators::STATUS,
        "completions" => &generated::COMPLETIONS,
        "man" => &generated::MAN,
        _ => return None,
    })
}

/// The command, and those below it, with their manuals as long help.
pub(super) fn with_help(command: Command) -> Command {
    each(command, "", |command, manual| {
        let described = described(command, manual);
        described.after_long_help(manual.to_string())
    })
}

/// The manual page of the command alone.
pub(super) fn page(command: Command, out: &mut impl Write) -> io::Result<()> {
    let command = with_descriptions(command);
    write_page(&command, "", out)
}

/// A manual page for the command and one for each below it, into a folder, which is made where it is not there.
pub(super) fn pages(command: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    write_pages(&with_descriptions(command), "", folder)
}

fn with_descriptions(command: Command) -> Command {
    let mut command = each(command, "", described).disable_help_subcommand(true);
    command.build();
    command
}

/// Does something with the command and with each below it.
fn each(command: Command, path: &str, act: fn(Command, &Manual) -> Command) -> Command {
    let command = command.mut_subcommands(|below| {
        let path = below_path(path, &below);
        each(below, &path, act)
    });
    match manual(path) {
        Some(manual) => act(command, manual),
        None => command,
    }
}

fn described(command: Command, manual: &Manual) -> Command {
    let first = command.get_about().map(ToString::to_string).unwrap_or_default();
    command.long_about(format!("{first}\n\n{}", manual.about))
}

fn below_path(path: &str, below: &Command) -> String {
    format!("{path} {}", below.get_name()).trim_start().to_owned()
}

fn write_pages(command: &Command, path: &str, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        write_pages(below, &below_path(path, below), folder)?;
    }
    let mut page = Vec::new();
    write_page(command, path, &mut page)?;
    let name = Man::new(command.clone()).get_filename();
    fs::write(folder.join(name), page)
}

fn write_page(command: &Command, path: &str, out: &mut impl Write) -> io::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let page = Man::new(command.clone()).source(format!("{} {version}", env!("CARGO_PKG_NAME")));
    page.manual("User Commands").render(out)?;
    let Some(manual) = manual(path) else { return Ok(()) };
    let mut roff = Roff::new();
    if !manual.files.is_empty() {
        roff.control("SH", ["FILES"]);
        manual.files.iter().for_each(|(name, is)| item(&mut roff, name, is));
    }
    roff.control("SH", ["EXIT STATUS"]);
    manual.exits.iter().for_each(|(code, means)| item(&mut roff, &code.to_string(), means));
    roff.control("SH", ["EXAMPLES"]);
    for example in manual.examples {
        roff.control("PP", []).text([roman(example.title())]);
        roff.control("PP", []).control("RS", ["4"]).control("nf", []);
        for line in example.lines().split('\n') {
            roff.text([bold(line)]);
        }
        roff.control("fi", []).control("RE", []);
    }
    if path.is_empty() {
        roff.control("SH", ["SEE ALSO"]);
        let pages = command.get_subcommands().map(|below| format!("mpc-auth-proxy-{}(1)", below.get_name()));
        roff.text([roman(pages.collect::<Vec<_>>().join(", "))]);
    }
    roff.to_writer(out)
}

fn item(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []).text([bold(term)]).text([roman(text)]);
}

impl Example {
    /// What it does, and how it exits where that is not usual.
    fn title(&self) -> String {
        match self.exits {
            0 => format!("{}:", self.does),
            code => format!("{} (exits with {code}):", self.does),
        }
    }

    /// The command line in lines that fit, as a shell joins them: each but the first begins with an option.
    fn lines(&self) -> String {
        let (mut lines, mut width) = (String::new(), 0);
        for (number, part) in self.line.split(" -").enumerate() {
            let dash = if number == 0 { "" } else { "-" };
            if number > 0 && width + part.len() > WIDTH {
                lines.push_str(" \\\n  ");
                width = 0;
            } else if number > 0 {
                lines.push(' ');
            }
            lines.push_str(dash);
            lines.push_str(part);
            width += part.len() + 2;
        }
        lines
    }
}

/// What stands below the options in a long help.
impl std::fmt::Display for Manual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { files, exits, examples, .. } = self;
        if !files.is_empty() {
            writeln!(f, "Files:")?;
            for (name, is) in *files {
                writeln!(f, "  {name}\n          {is}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "Exit status:")?;
        for (code, means) in *exits {
            writeln!(f, "  {code:>2}  {means}")?;
        }
        writeln!(f, "\nExamples:")?;
        for (number, example) in examples.iter().enumerate() {
            let gap = if number == 0 { "" } else { "\n" };
            let lines = example.lines().replace('\n', "\n    ");
            write!(f, "{gap}  {}\n    $ {lines}\n", example.title())?;
        }
        Ok(())
    }
}

/// With what stands before a line and behind it, no wider than a help is.
const WIDTH: usize = 86;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::commands::Cli;

    fn without_manual(command: &Command, path: &str) -> Vec<String> {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        let mut without: Vec<String> =
            below.flat_map(|below| without_manual(below, &below_path(path, below))).collect();
        without.extend(manual(path).is_none().then(|| path.to_owned()));
        without
    }

    #[test]
    fn every_command_has_a_manual() {
        assert_eq!(without_manual(&Cli::command(), ""), [""; 0]);
    }

    #[test]
    fn a_long_line_is_broken_before_options() {
        let line = "mpc-auth-proxy policy suggest audit.log --config proxy.yaml --format json --bbbbbbbbbbbbbbbbb -c - > x";
        let expected = "mpc-auth-proxy policy suggest audit.log --config proxy.yaml --format json \\\n  --bbbbbbbbbbbbbbbbb -c - > x";
        assert_eq!(example("", line).lines(), expected);
    }

    #[test]
    fn the_summary_of_a_command_stays_short() {
        let mut command = with_help(Cli::command());
        for below in command.get_subcommands_mut() {
            let (short, long) = (below.render_help().to_string(), below.render_long_help().to_string());
            assert!(!short.contains("Exit status:") && long.contains("Exit status:"), "{short}{long}");
        }
    }
}
