//! A section of the runbook: its blocks, run one after the other beside the proxy.
//!
//! `…` on the page stands for varying text, on a line of its own for any number of lines. The proxy's
//! ports are 8080 (`app`), 8081 (`team`) and 9090 (`ops`) there, its log is `proxy.log`, and `ID` is the id of the last
//! refusal. No shell and no curl is needed.

use std::{
    cell::RefCell,
    fs,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use crate::harness::{BOUND, Proxy, TOKEN, request};

pub(super) const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RUNBOOK.md");

/// The rest of a section.
pub(super) struct Page {
    title: &'static str,
    blocks: Vec<String>,
    id: RefCell<String>,
    /// The output of all commands.
    printed: Vec<String>,
    wrong: Vec<String>,
}

impl Page {
    pub(super) fn of(title: &'static str) -> Self {
        let document = fs::read_to_string(RUNBOOK).unwrap();
        let sections = document.split("\n## ").skip(1);
        let mut found = sections.filter(|section| section.lines().next() == Some(title));
        let section = found.next().unwrap_or_else(|| panic!("{RUNBOOK} has no section `{title}`"));
        let fences = section.split("```").skip(1).step_by(2);
        // Reversed, to be popped from the end.
        let blocks = fences.filter_map(|block| block.strip_prefix("console\n")).map(str::to_owned);
        let mut blocks: Vec<String> = blocks.collect();
        blocks.reverse();
        Self { title, blocks, id: RefCell::default(), printed: Vec::new(), wrong: Vec::new() }
    }

    /// Runs the next block: each command must print the lines below it.
    pub(super) fn block(&mut self, proxy: &Proxy) {
        let block = self.blocks.pop().unwrap_or_else(|| panic!("`{}` has no further block", self.title));
        for exchange in format!("\n{block}").split("\n$ ").skip(1) {
            let (command, expected) = exchange.split_once('\n').unwrap_or((exchange, ""));
            let (command, expected) = (command.trim(), expected.trim_end());
            let printed = self.until_as_expected(proxy, command, expected);
            if !fits(expected, &printed) {
                self.wrong.push(format!("$ {command}\n{printed}"));
            }
            self.printed.push(printed);
        }
    }

    /// Asserts that one record, line or answer has the cause, the location and the fix.
    pub(super) fn one_says(&self, parts: &[&str]) {
        let whole = self.printed.iter().any(|printed| parts.iter().all(|part| printed.contains(part)));
        assert!(whole || !self.wrong.is_empty(), "{}: {parts:?} in one of {:#?}", self.title, self.printed);
    }

    pub(super) fn ends(self) {
        assert!(self.wrong.is_empty(), "`{}` prints otherwise:\n{}", self.title, self.wrong.join("\n"));
        assert!(self.blocks.is_empty(), "`{}` has blocks that nobody ran: {:#?}", self.title, self.blocks);
    }

    /// Repeats a command until it matches, as lines are written a moment after answers. A call is made once.
    fn until_as_expected(&self, proxy: &Proxy, command: &str, expected: &str) -> String {
        let end = Instant::now() + BOUND;
        loop {
            let printed = self.run(proxy, command);
            if fits(expected, &printed) || command.contains(":808") || Instant::now() > end {
                return printed;
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn run(&self, proxy: &Proxy, command: &str) -> String {
        let command = command.replace(" ID", &format!(" {}", self.id.borrow()));
        let mut printed = String::new();
        for (number, stage) in command.split(" | ").enumerate() {
            let words = words(stage);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            printed = match (words[0], number) {
                ("mpc-auth-proxy", 0) => program(proxy, &words[1..]),
                ("curl", 0) => self.curl(proxy, &words[1..]),
                ("grep", 0) => lines_with(words[1], &text_of(proxy, words[2])),
                ("grep", _) => lines_with(words[1], &printed),
                ("tail", 0) => last_line(&text_of(proxy, words[3])),
                ("tail", _) => last_line(&printed),
                _ => panic!("{stage} is no command of this page"),
            };
        }
        printed.trim_end().to_owned()
    }

    fn curl(&self, proxy: &Proxy, words: &[&str]) -> String {
        let after = |option: &'static str| {
            let places = words.iter().enumerate().filter(move |(_, word)| **word == option);
            places.map(|(at, _)| words[at + 1])
        };
        let url = words.iter().find_map(|word| word.strip_prefix("localhost:")).unwrap();
        let (port, path) = url.split_once('/').unwrap();
        let target = format!("/{path}");
        if port == "9090" {
            return proxy.probe(&target).body;
        }
        let headers: Vec<&str> = after("-H").collect();
        let listener = if port == "8081" { "team" } else { "app" };
        let request = request(after("-X").next().unwrap_or("GET"), &target, &headers);
        let answer = proxy.send_to(listener, request);
        if answer.status >= 400 {
            *self.id.borrow_mut() = answer.header("proxy-request-id").to_owned();
        }
        match after("-w").next() {
            Some(_) => format!("{}\n{}", answer.body, answer.status),
            None => answer.body,
        }
    }
}

fn program(proxy: &Proxy, words: &[&str]) -> String {
    let folder = proxy.path("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpc-auth-proxy"));
    let output = command.env_clear().current_dir(&folder).args(words).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    short(&text, &folder)
}

/// Files of the folder have no folder on the page.
fn short(text: &str, folder: &Path) -> String {
    text.replace(&format!("{}/", folder.display().to_string().trim_end_matches('/')), "")
}

fn text_of(proxy: &Proxy, name: &str) -> String {
    let text = match name {
        "proxy.log" => proxy.log(),
        _ => fs::read_to_string(proxy.path(name)).unwrap_or_default(),
    };
    short(&text, &proxy.path(""))
}

fn lines_with(word: &str, text: &str) -> String {
    text.lines().filter(|line| line.contains(word)).map(|line| format!("{line}\n")).collect()
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().to_owned()
}

/// Splits like a shell, respecting quotes.
fn words(stage: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut left = stage.trim();
    while let Some(first) = left.chars().next() {
        let quoted = matches!(first, '\'' | '"');
        let (word, rest) = match quoted {
            true => left[1..].split_once(first).unwrap(),
            false => left.split_once(' ').unwrap_or((left, "")),
        };
        // Within single quotes a shell leaves it alone.
        words.push(if first == '\'' { word.to_owned() } else { word.replace("$TOKEN", TOKEN) });
        left = rest.trim_start();
    }
    words
}

/// Whether a text matches the page.
fn fits(page: &str, text: &str) -> bool {
    let (page, text): (Vec<&str>, Vec<&str>) = (page.lines().collect(), text.lines().collect());
    fit(&page, &text)
}

fn fit(page: &[&str], text: &[&str]) -> bool {
    match (page, text) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=text.len()).any(|skipped| fit(rest, &text[skipped..])),
        ([line, page @ ..], [first, text @ ..]) => fits_line(line, first) && fit(page, text),
        _ => false,
    }
}

/// Whether the parts between `…` occur in this order, the outer ones at the ends.
fn fits_line(page: &str, line: &str) -> bool {
    let Some((first, rest)) = page.split_once('…') else { return page == line };
    let Some(mut left) = line.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('…').unwrap_or(("", rest));
    for part in middle.split('…') {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[test]
fn what_is_different_each_time_is_passed_over_and_nothing_else() {
    for (page, text) in [("a …b… d", "a 1b23 d"), ("…\nb", "a\na\nb"), ("…\nb", "b"), ("a…", "a"), ("", "")]
    {
        assert!(fits(page, text), "{page:?} {text:?}");
    }
    for (page, text) in
        [("a …b… d", "a 1b23 e"), ("a", "a\nb"), ("a…b", "ab\nab"), ("a…a", "a"), ("…\nb", "")]
    {
        assert!(!fits(page, text), "{page:?} {text:?}");
    }
}
