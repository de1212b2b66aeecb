//! Tests `docs/POLICY.md` by running its files, cases and commands.

use std::path::Path;
use std::process::ExitCode;

use super::command::{Args, answer_to};
use crate::cli::arguments::parse;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/POLICY.md");

/// A fenced block: its language and its text.
struct Block<'d> {
    language: &'d str,
    text: &'d str,
}

#[test]
fn the_ten_situations_are_as_the_document_says() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let sections: Vec<&str> = document.split("\n## ").skip(1).collect();
    let situations = sections.iter().filter(|section| section.starts_with(|c: char| c.is_ascii_digit()));
    assert_eq!(situations.clone().count(), 10);
    for situation in situations {
        let directory = tempfile::tempdir().unwrap();
        let blocks = blocks(situation);
        blocks.iter().for_each(|block| write(directory.path(), block));
        let title = situation.lines().next().unwrap();
        let (code, out) = run(directory.path(), "mpc-auth-proxy policy test policy.test.yaml");
        assert_eq!(code, ExitCode::SUCCESS, "{title}\n{out}");
        for block in blocks.iter().filter(|block| block.language == "console") {
            converse(directory.path(), block.text);
        }
    }
}

fn blocks(section: &str) -> Vec<Block<'_>> {
    let fenced = section.split("```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').unwrap())
        .map(|(language, text)| Block { language, text })
        .collect()
}

/// Writes a block as a file: the first line of YAML names it, and JSON lines are the audit file.
fn write(directory: &Path, block: &Block<'_>) {
    let name = match block.language {
        "yaml" => block.text.lines().next().unwrap().strip_prefix("# ").unwrap(),
        "jsonl" => "audit.jsonl",
        _ => return,
    };
    std::fs::write(directory.join(name), block.text).unwrap();
}

/// Runs the commands after `$ `, and compares their output with the text below.
fn converse(directory: &Path, text: &str) {
    let mut last = ExitCode::SUCCESS;
    for exchange in format!("\n{text}").split("\n$ ").skip(1) {
        let (command, expected) = exchange.split_once('\n').unwrap_or((exchange, ""));
        if command == "echo $?" {
            assert_eq!(last, ExitCode::from(expected.trim().parse::<u8>().unwrap()));
            continue;
        }
        let (code, out) = run(directory, command);
        assert_eq!(out.trim_end(), expected.trim_end(), "{command}");
        last = code;
    }
}

/// Runs a command as if in that directory. Returns the exit code and the output.
fn run(directory: &Path, command: &str) -> (ExitCode, String) {
    let in_place = |word: &str| {
        let path = directory.join(word);
        if path.is_file() { path.display().to_string() } else { word.to_owned() }
    };
    let words = command.strip_prefix("mpc-auth-proxy policy ").unwrap();
    let words: Vec<String> = words.split_whitespace().map(in_place).collect();
    let Args { command } = parse(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = answer_to(&command, &mut out, &mut err).unwrap();
    out.extend(err);
    (code, String::from_utf8(out).unwrap().replace(&format!("{}/", directory.display()), ""))
}
