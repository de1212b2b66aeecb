//! The words of the source: retired names stay away, and the first line of a module's doc is a summary.
//!
//! The glossary of `docs/ARCHITECTURE.md` has the terms to use instead.

use std::{collections::BTreeSet, fs};

use crate::layering::sources;

#[test]
fn retired_identifiers_stay_away() {
    let retired: BTreeSet<&str> = RETIRED.split_whitespace().collect();
    let mut found = Vec::new();
    let mut count = 0;
    for file in sources("src") {
        let text = fs::read_to_string(&file).unwrap();
        for name in identifiers(&text) {
            count += 1;
            if retired.contains(name.as_str()) {
                found.push(format!("{}: {name}", file.display()));
            }
        }
    }
    assert_eq!(found, [""; 0]);
    assert!(count > 100_000, "only {count} identifiers were found");
}

#[test]
fn identifiers_are_told_from_prose() {
    let text = r##"
// Held is prose, and so is /* Mooring */ here.
/* Lookout /* nested Insight */ still */
let a = "Renewal \" Told"; let b = 'x'; let c = '"'; fn f<'q>(d: &'q str) -> Room { r#"Door "Said""# }
let e = b"Doubt"; let g = "{Asker}";
"##;
    let found: Vec<String> = identifiers(text).into_iter().filter(|name| name.len() > 2).collect();
    assert_eq!(found, ["let", "let", "let", "str", "Room", "let", "let"]);
}

#[test]
fn a_module_begins_with_a_summary() {
    let asks = |line: &str| line.starts_with("//! ") && line.replace("`?`", "").contains('?');
    let questions: Vec<_> = sources("src")
        .into_iter()
        .filter(|file| fs::read_to_string(file).unwrap().lines().next().is_some_and(asks))
        .collect();
    assert!(questions.is_empty(), "say what it is, not what it asks: {questions:?}");
}

/// The identifiers of Rust code, without comments and literals.
fn identifiers(text: &str) -> Vec<String> {
    let code = code(text);
    let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
        .map(str::to_owned)
        .collect()
}

/// Rust code without comments and with empty strings, its lines kept.
pub(crate) fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let literal = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => comment_length(rest),
            '"' => string_length(rest),
            '\'' => char_length(rest),
            'r' => raw_string_length(rest).unwrap_or(0),
            _ => 0,
        };
        if literal > 0 {
            code.extend(std::iter::repeat_n('\n', rest[..literal].matches('\n').count()));
            code.push(' ');
            rest = &rest[literal..];
            continue;
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length =
            if is_word(first) { rest.find(|c| !is_word(c)).unwrap_or(rest.len()) } else { first.len_utf8() };
        let (word, after) = rest.split_at(length);
        if !(matches!(word, "b" | "c") && after.starts_with('"')) {
            code.push_str(word);
        }
        rest = after;
    }
    code
}

fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = &text[at..];
        depth += i32::from(rest.starts_with("/*")) - i32::from(rest.starts_with("*/"));
        at += if rest.starts_with("/*") || rest.starts_with("*/") {
            2
        } else {
            rest.chars().next().unwrap().len_utf8()
        };
        if depth == 0 {
            return at;
        }
    }
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character literal, or 1 for a lifetime's quote.
fn char_length(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => {
            2 + text[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

fn raw_string_length(text: &str) -> Option<usize> {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    let content = text[1 + hashes..].strip_prefix('"')?;
    let end = content.find(&format!("\"{}", "#".repeat(hashes)))?;
    Some(1 + hashes + 1 + end + 1 + hashes)
}

/// Retired names, replaced by terms of the field.
const RETIRED: &str = "
    Room Door Told Watch farewell FAREWELL stretch Standing StandingState Surroundings Renewal Page CallerWritten
    PolicyAlone Placed Extent PATIENCE LONGEST MOST TOLD USUAL SOON TIDY LATER OURSELVES Asked Said Whom Keeping Unkept
    Mooring Lookout Insight Trying Spare Brought Decider Draft Begun Tried Believed Anticipate Awaited
    Foreseen Wants Alike OfCallers GivenError Doubt Way WayError Contact Witness Asker Asks Reached Came Early HangUp
    Looks Look Heard Uses Among EverybodyIsFrozen NotKept insight mooring lookout surroundings renewal renewals decider
    anticipate foresee look_around nothing_is_pending lessened once_more twin_of another_of shake_hands is_at_leisure
    stands_apart go_on owes unseen believed_lately is_believed
";
