//! `--help` is a manual: every example in it runs as written, and each command has a page.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{Proxy, Setup, TOKEN, cancel, free_address, request};

/// The command lines of all commands, found through `--help`.
fn commands() -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut at = 0;
    while let Some(command) = commands.get(at).cloned() {
        let help = text(&program(&format!("{command} -h")));
        let section = help.split("\nCommands:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
        let names = section.into_iter().flat_map(str::lines).filter_map(|line| {
            let name = line.strip_prefix("  ")?.split(' ').next()?;
            (!name.is_empty() && name != "help").then(|| format!("{command} {name}").trim().to_owned())
        });
        let names: Vec<String> = names.collect();
        commands.extend(names);
        at += 1;
    }
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

fn program(words: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    command.env_clear().args(words.split_whitespace()).output().unwrap()
}

fn text(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn section<'h>(help: &'h str, title: &str) -> &'h str {
    let section =
        help.split(&format!("\n{title}:\n")).nth(1).unwrap_or_else(|| panic!("no {title} in {help}"));
    section.split("\n\n").next().unwrap()
}

/// A command line of a manual, and its exit code.
struct Example {
    line: String,
    exits: i32,
}

fn examples(command: &str) -> Vec<Example> {
    let help = text(&program(&format!("{command} --help")));
    let all = help.split("\nExamples:\n").nth(1).unwrap_or_else(|| panic!("{command} has no examples"));
    let examples = all.trim_end().split("\n\n").map(|example| {
        let (title, line) = example.split_once("\n    $ ").unwrap_or_else(|| panic!("{command}: {example}"));
        let exits = title.split_once("(exits with ").map(|(_, rest)| rest.split(')').next().unwrap());
        Example { line: line.to_owned(), exits: exits.map_or(0, |code| code.parse().unwrap()) }
    });
    examples.collect()
}

/// Runs it in a shell in this folder, with the program in `PATH`.
fn shell(folder: &Path, line: &str, id: &str) -> Command {
    let programs = Path::new(env!("CARGO_BIN_EXE_mpc-auth-proxy")).parent().unwrap();
    let mut command = Command::new("/bin/sh");
    let path = format!("{}:/usr/bin:/bin", programs.display());
    command.env_clear().env("PATH", path).env("ID", id).current_dir(folder).args(["-c", line]);
    command
}

fn setup() -> Setup {
    let cases = "\
version: 1
policy: policy.yaml
config: proxy.yaml
cases:
  - name: the editor cancels a job
    caller: editor-api
    project: media-prod
    job: 100211
    expect: allow
";
    let create =
        r#"{"input":{"bucket":"media-in","location":"cn-north-4","object":"a.mp4"},"edit_type":["EDIT"]}"#;
    // Nothing of it is warned about.
    let policy = "version: 1
callers: { editor-api: { identify: [ { listener: app } ] } }
rules:
  - { id: own, effect: allow, callers: [editor-api], projects: [media-prod], jobs: ['*'],
      actions: [mpc:editingTask:create, mpc:editingTask:delete, mpc:editingTask:view] }
";
    Setup::new()
        .listeners(&[&format!("{{ name: app, bind: '{}' }}", free_address())])
        .policy(policy)
        .ops_bind(&free_address().to_string())
        .section("admin: { bind: 'unix:admin.sock' }")
        .section("audit: { sink: audit.log }")
        .file("policy.test.yaml", cases)
        .file("next-policy.yaml", policy)
        .file("create.json", create)
}

/// Runs it to its end; a server is stopped once it serves.
fn runs(proxy: &Proxy, id: &str, example: &Example) -> Output {
    let line = &example.line;
    let is_server = |name: &str| line.contains(&format!("mpc-auth-proxy {name}"));
    if !is_server("run") && !is_server("testserver") {
        return shell(&proxy.path(""), line, id).output().unwrap();
    }
    // Beside it: two must not have one audit file.
    let another = setup();
    drop(another.command("check"));
    let mut command = shell(&another.path(""), &format!("exec env {line}"), id);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out: Box<dyn Read> = match is_server("run") {
        true => Box::new(child.stderr.take().unwrap()),
        false => Box::new(child.stdout.take().unwrap()),
    };
    let mut lines = BufReader::new(&mut out).lines();
    match line.contains("LOG_LEVEL=warn") {
        // It says nothing, so it is asked.
        true => assert_eq!(another.run("wait").status.code(), Some(0)),
        false => drop(lines.find(|line| {
            line.as_ref().is_ok_and(|line| ["serving", "Stand-in"].iter().any(|word| line.contains(word)))
        })),
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    lines.for_each(drop);
    child.wait_with_output().unwrap()
}

#[test]
fn every_example_runs_as_it_is_written() {
    let proxy = setup().start().records_elsewhere();
    proxy.send(cancel("100211")).with_status(204);
    let refused = proxy.send(request("DELETE", "/v2/other/editing/jobs/1", &[])).with_status(403);
    let id = refused.json()["request_id"].as_str().unwrap().to_owned();
    // What ends the proxy comes last.
    let mut commands = commands();
    commands.sort_by_key(|command| command == "shutdown");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for command in &commands {
        for example in examples(command) {
            let output = runs(&proxy, &id, &example);
            count += 1;
            if output.status.code() != Some(example.exits) {
                let all = [output.stdout, output.stderr].concat();
                wrong.push(format!(
                    "$ {}\n{:?}\n{}",
                    example.line,
                    output.status,
                    String::from_utf8_lossy(&all)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= commands.len());
    assert!(!TOKEN.is_empty());
}

/// The exit codes of a command are among those of the whole program.
#[test]
fn each_command_says_what_it_exits_with_and_what_it_reads() {
    let codes = |command: &str| -> Vec<String> {
        let help = text(&program(&format!("{command} --help")));
        let lines = section(&help, "Exit status").lines();
        lines
            .map(|line| line.trim().split(' ').next().unwrap().to_owned())
            .filter(|code| code.parse::<u8>().is_ok())
            .collect()
    };
    let all = codes("");
    for command in commands() {
        let own = codes(&command);
        assert!(own.contains(&"0".into()) && own.contains(&"2".into()), "{command}: {own:?}");
        assert!(own.iter().all(|code| all.contains(code)), "{command}: {own:?}");
        let help = text(&program(&format!("{command} --help")));
        assert_eq!(
            help.contains("--config <FILE>"),
            help.contains("\nFiles:\n") && help.contains("\n  proxy.yaml\n") && !command.is_empty(),
            "{command}: {help}"
        );
        let summary = text(&program(&format!("{command} -h")));
        assert!(!summary.contains("Exit status:"), "{summary}");
    }
}

#[test]
fn each_command_has_a_page_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    assert_eq!(text(&program(&format!("man --out {}", pages.display()))), "");
    let mut found: Vec<String> =
        fs::read_dir(&pages).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    let name =
        |command: &String| format!("{}.1", format!("mpc-auth-proxy {command}").trim().replace(' ', "-"));
    let mut expected: Vec<String> = commands().iter().map(name).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let has_groff = Command::new("groff")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_groff {
        eprintln!("without groff the pages are not formatted");
    }
    for page in found {
        let text = fs::read_to_string(pages.join(&page)).unwrap();
        for part in
            [".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH \"EXIT STATUS\"\n", ".SH EXAMPLES\n"]
        {
            assert!(text.contains(part), "{part} in {page}: {text}");
        }
        assert!(text.starts_with(".ie") || text.contains(".TH "), "{text}");
        if has_groff {
            let output = Command::new("groff")
                .args(["-man", "-Tutf8", "-ww", "-z"])
                .arg(pages.join(&page))
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && said.is_empty(), "{page}: {said}");
        }
    }
    assert!(text(&program("man")).contains(".SH NAME\n"));
    let unwritable = program("man --out /proc/nowhere");
    assert_eq!(unwritable.status.code(), Some(1));
    assert!(
        String::from_utf8(unwritable.stderr).unwrap().contains("cannot write the pages into /proc/nowhere")
    );
}
