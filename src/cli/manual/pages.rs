//! Renders manuals as long help and as manual pages.

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

use super::{configuration, entry::Manual, operators, policy, proxy, trying};

/// Adds the manuals to a command and its subcommands as long help.
pub(in crate::cli) fn with_help(command: Command) -> Command {
    each(command, "", |command, manual| {
        let described = described(command, manual);
        described.after_long_help(manual.to_string())
    })
}

/// Writes the manual page of one command.
pub(in crate::cli) fn page(command: Command, out: &mut impl Write) -> io::Result<()> {
    let command = with_descriptions(command);
    write_page(&command, "", out)
}

/// Writes a manual page for the command and each subcommand into a folder, which is created if missing.
pub(in crate::cli) fn pages(command: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    write_pages(&with_descriptions(command), "", folder)
}

fn with_descriptions(command: Command) -> Command {
    let mut command = each(command, "", described).disable_help_subcommand(true);
    command.build();
    command
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
        "completions" => &proxy::COMPLETIONS,
        "man" => &proxy::MAN,
        _ => return None,
    })
}

/// Applies a function to the command and each subcommand.
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
    manual.exits().iter().for_each(|(code, means)| item(&mut roff, &code.to_string(), means));
    roff.control("SH", ["EXAMPLES"]);
    for (does, line) in manual.examples() {
        roff.control("PP", []).text([roman(format!("{does}:"))]);
        roff.control("PP", []).control("RS", ["4"]).control("nf", []);
        for line in line.split('\n') {
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
    fn the_summary_of_a_command_stays_short() {
        let mut command = with_help(Cli::command());
        for below in command.get_subcommands_mut() {
            let (short, long) = (below.render_help().to_string(), below.render_long_help().to_string());
            assert!(!short.contains("Exit status:") && long.contains("Exit status:"), "{short}{long}");
        }
    }
}
