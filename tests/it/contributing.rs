//! The files, folders, functions and tests named by CONTRIBUTING.md and docs/ARCHITECTURE.md exist.

use std::{collections::BTreeSet, fs, path::Path};

use crate::layering::sources;

const DOCUMENTS: [&str; 2] = ["CONTRIBUTING.md", "docs/ARCHITECTURE.md"];

#[test]
fn every_path_that_is_named_is_there() {
    let repository = Repository::read();
    let (mut missing, mut count) = (Vec::new(), 0);
    for document in DOCUMENTS {
        let text = read(document);
        for word in quoted(&text).into_iter().chain(shell_words(&text)) {
            let word = word.trim_end_matches('/');
            if repository.looks_like_a_path(word) {
                count += 1;
                missing.extend((!repository.has(word)).then(|| format!("{document}: {word}")));
            }
        }
    }
    assert_eq!(missing, [""; 0]);
    assert!(count > 60, "only {count} paths were found");
}

#[test]
fn every_function_and_test_that_is_named_is_there() {
    let code: Vec<String> = ["src", "tests"]
        .into_iter()
        .flat_map(sources)
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let known: BTreeSet<&str> = code.iter().flat_map(|text| text.split(|c| !is_part(c))).collect();
    let text = read("CONTRIBUTING.md");
    let is_name = |word: &&str| {
        let is_long = word.contains("::") || word.matches('_').count() >= 3;
        is_long && word.chars().all(|c| is_part(c) || c == ':')
    };
    let (mut missing, mut count) = (Vec::new(), 0);
    for word in quoted(&text).into_iter().filter(is_name) {
        count += 1;
        let has_all = word.split("::").all(|part| known.contains(part));
        missing.extend((!has_all).then_some(word));
    }
    // The filter of a command may be the beginning of a name.
    for word in shell_words(&text).into_iter().filter(is_name) {
        let begins = |part: &str| known.range(part..).next().is_some_and(|name| name.starts_with(part));
        missing.extend((!word.split("::").all(begins)).then_some(word));
    }
    assert_eq!(missing, [""; 0]);
    assert!(count > 15, "only {count} names were found");
}

/// The files of the repository, without build output.
struct Repository {
    paths: Vec<String>,
    top: BTreeSet<String>,
}

impl Repository {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut paths, mut open) = (Vec::new(), vec![root.to_owned()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if ["target", ".git", ".venv", "__pycache__"].contains(&name) {
                    continue;
                }
                paths.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
                if path.is_dir() {
                    open.push(path);
                }
            }
        }
        let top = paths.iter().filter(|path| !path.contains('/')).cloned().collect();
        Self { paths, top }
    }

    /// Whether it begins with a top-level name, or has an extension of our files.
    fn looks_like_a_path(&self, word: &str) -> bool {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
        let first = word.split_once('/').map(|(first, _)| first);
        let ends = [".rs", ".md", ".sh", ".py", ".toml", ".txt", ".jsonl"];
        word.chars().all(is_part)
            && (first.is_some_and(|first| self.top.contains(first))
                || ends.iter().any(|end| word.ends_with(end)))
    }

    /// Whether it is a path, or the end of one.
    fn has(&self, word: &str) -> bool {
        let end = format!("/{word}");
        self.paths.iter().any(|path| path == word || path.ends_with(&end))
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Words between back-ticks in prose.
fn quoted(text: &str) -> Vec<&str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)).flat_map(str::split_whitespace).collect()
}

/// The words of commands, without their comments.
fn shell_words(text: &str) -> Vec<&str> {
    let blocks = text.split("\n```sh\n").skip(1).filter_map(|block| block.split("\n```").next());
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.split('#').next());
    lines.flat_map(str::split_whitespace).collect()
}
