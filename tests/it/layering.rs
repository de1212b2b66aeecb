//! Layout of the source: imports go one way only, a folder's `mod.rs` has no items, no lint is silenced, no file is long.

use std::{
    collections::BTreeSet,
    fs, iter,
    path::{Path, PathBuf},
};

use crate::words::code;

#[test]
fn modules_import_only_what_stands_above_them() {
    let order = order();
    assert_eq!(
        (order.first().map(String::as_str), order.last().map(String::as_str)),
        (Some("clock"), Some("cli"))
    );
    let mut wrong = Vec::new();
    let mut imports = 0;
    for file in sources("src") {
        let Some(own) = order.iter().position(|module| *module == module_of(&file)) else { continue };
        for module in imported(&product_code(&file)) {
            let known = order.iter().position(|other| *other == module);
            imports += 1;
            if known.is_none_or(|at| at > own) {
                wrong.push(format!("{} imports {module}", file.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(imports > 100, "only {imports} imports were found");
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "
use crate::secret::Secret;
use crate::{
    audit::{Record, Trail},
    clock, metrics::Metrics,
};
use super::{crate_like, other};
fn f(x: &crate::policy::Policy) { crate::limit::now(crate::signing::sign) }
// See crate::cli, and
/// [`crate::ops`].
";
    let expected = ["audit", "clock", "limit", "metrics", "policy", "secret", "signing"];
    assert_eq!(imported(text).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_mod_file_only_declares_and_re_exports() {
    let src = root().join("src");
    let mut count = 0;
    let mut others = Vec::new();
    for file in sources("src").into_iter().filter(|file| file.ends_with("mod.rs")) {
        let folder = file.parent().unwrap().strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        count += 1;
        if !is_test_module(&file) && holds_items(&fs::read_to_string(&file).unwrap()) {
            others.push(folder);
        }
    }
    assert_eq!(others, [""; 0]);
    assert!(count > 30, "only {count} were found");
    for text in [
        "//! Texts; and `fn`.\nmod a;\n#[cfg(test)]\nmod tests;\npub(in crate::x) use a::{B, c};\npub mod d;\n",
        "#![expect(\n    clippy::panic,\n    reason = \"a; b\"\n)]\nuse a::*;\n",
    ] {
        assert!(!holds_items(text), "{text}");
    }
    for text in [
        "mod a;\npub fn f() {}\n",
        "mod a {\n    use b;\n}\n",
        "const A: u8 = 1;\nmod a;\n",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n",
        "pub use a::B;\nimpl B {}\n",
    ] {
        assert!(holds_items(text), "{text}");
    }
}

#[test]
fn no_lint_is_allowed_away() {
    // `expect` says why, and complains when it is no longer needed.
    let silenced: Vec<PathBuf> = sources("src")
        .into_iter()
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            text.contains("#[allow(") || text.contains("#![allow(")
        })
        .collect();
    assert_eq!(silenced, [""; 0].map(PathBuf::from));
}

#[test]
fn no_file_is_longer_than_400_lines() {
    let long: Vec<String> = ["src", "tests", "benches"]
        .into_iter()
        .flat_map(sources)
        .filter_map(|file| {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            (lines > 400).then(|| format!("{} has {lines}", file.display()))
        })
        .collect();
    assert_eq!(long, [""; 0]);
}

#[test]
fn no_tuple_makes_two_parameters_one() {
    let mut found = Vec::new();
    let mut count = 0;
    for file in sources("src") {
        for (name, parameters) in signatures(&code(&product_code(&file))) {
            count += 1;
            if has_a_tuple_beside_others(&parameters) {
                found.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert_eq!(found, [""; 0], "make it a type, or parameters of their own");
    assert!(count > 2_000, "only {count} functions were found");
}

#[test]
fn a_tuple_is_found_however_it_is_passed() {
    for (signature, expected) in [
        ("fn f(a: A, (b, c): (B, C)) {}", true),
        ("fn f<'a, T: Fn(A) -> B>(&'a self, a: T, pair: &(B, C))", true),
        ("fn f(a: A, (b, c): &mut (Vec<(B, C)>, D),)", true),
        // What takes the items of a map.
        ("fn f(&mut self, (a, b): (A, B)) {}", false),
        ("fn f(a: A, ends: &[(B, C)], b: fn(B, C), unit: ()) {}", false),
        ("fn f(a: A, c: impl Fn((B, C))) { let (a, b): (A, B) = c; }", false),
    ] {
        let signatures = signatures(signature);
        assert_eq!(signatures.iter().any(|(_, of)| has_a_tuple_beside_others(of)), expected, "{signature}");
    }
}

/// The functions of some code, each with its parameters besides `self`.
fn signatures(code: &str) -> Vec<(String, Vec<String>)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let functions = code.match_indices("fn ").filter(|(at, _)| !code[..*at].ends_with(is_word));
    let signature = |(at, _): (usize, &str)| {
        let rest = &code[at + 3..];
        let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
        let mut depth = 0;
        let mut parameters = vec![String::new()];
        // `->` closes nothing.
        for (before, c) in iter::zip(iter::once(' ').chain(rest.chars()), rest.chars()).skip(name.len()) {
            let outside = depth == 0;
            depth += match c {
                '(' | '[' | '<' => 1,
                ')' | ']' => -1,
                '>' if before != '-' => -1,
                _ => 0,
            };
            match (depth, c) {
                (0, ')') => break,
                (0, _) => {}
                // Type parameters stand before them.
                (1, _) if outside => parameters = vec![String::new()],
                (1, ',') => parameters.push(String::new()),
                _ => parameters.last_mut().unwrap().push(c),
            }
        }
        parameters.retain(|parameter| parameter.contains(':'));
        (name, parameters)
    };
    functions.map(signature).filter(|(name, _)| !name.is_empty()).collect()
}

fn has_a_tuple_beside_others(parameters: &[String]) -> bool {
    let is_tuple = |parameter: &String| {
        let mut depth = 0;
        let colon = parameter.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0 && c == ':'
        });
        let ty = parameter[colon.unwrap() + 1..].trim().trim_start_matches('&').trim_start_matches("mut ");
        ty.starts_with('(') && ty.contains(',')
    };
    parameters.len() > 1 && parameters.iter().any(is_tuple)
}

/// The modules, in the order of their declarations.
fn order() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let name = |line: &str| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned());
    text.lines().filter_map(name).collect()
}

/// Every `.rs` file below a directory of the package, except those of nested builds.
pub(crate) fn sources(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources in {directory}");
    found
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `policy` of `src/policy/glob.rs` and of `src/policy.rs`.
fn module_of(file: &Path) -> String {
    let below = file.strip_prefix(root().join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

/// The text without its tests, which may import anything.
fn product_code(file: &Path) -> String {
    if is_test_module(file) {
        return String::new();
    }
    let text = fs::read_to_string(file).unwrap();
    let tests = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..tests].to_owned()
}

/// Whether the file, or a folder above it, is declared for tests only.
fn is_test_module(file: &Path) -> bool {
    file.ancestors().take_while(|path| !path.ends_with("src")).any(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let declaration = format!("#[cfg(test)]\nmod {name};");
        let parent = fs::read_to_string(path.with_file_name("mod.rs"));
        parent.is_ok_and(|text| text.contains(&declaration))
    })
}

/// Whether a text has more than module declarations and imports.
fn holds_items(text: &str) -> bool {
    let code = code(text);
    code.split(';').any(|statement| {
        let mut rest = statement.trim();
        while let Some((_, after)) = rest.split_once(']').filter(|_| rest.starts_with('#')) {
            rest = after.trim_start();
        }
        if let Some(public) = rest.strip_prefix("pub") {
            rest =
                public.split_once(')').filter(|_| public.starts_with('(')).map_or(public, |(_, after)| after);
            rest = rest.trim_start();
        }
        !rest.is_empty() && !rest.starts_with("use ") && (!rest.starts_with("mod ") || rest.contains('{'))
    })
}

/// The modules named by `crate::…` in a text, comments apart.
fn imported(text: &str) -> BTreeSet<String> {
    let code =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let path = &code[at + "crate::".len()..];
        match path.strip_prefix('{') {
            Some(group) => found.extend(members(group).into_iter().map(word)),
            None => drop(found.insert(word(path))),
        }
    }
    found.remove("");
    found
}

/// The members of a group up to its closing brace, each with its nested path.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(&group[start..at]);
                return members;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    members
}
