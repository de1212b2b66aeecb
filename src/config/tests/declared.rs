//! Schemas, samples and the reference follow the declarations of keys. `BLESS=1` writes schemas and reference.

use super::super::kind::{Key, Presence, Rule, Shape};
use super::super::schema::{File, schema};
use super::super::yaml::{self, Node, Value};
use super::*;
use std::collections::BTreeMap;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const FILES: [(File, &str); 2] = [(File::Proxy, "proxy"), (File::Policy, "policy")];

/// Compares a file with its expected text, or writes it.
fn is_written(path: &str, expected: &str) {
    let path = format!("{ROOT}/{path}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let parsed = fs::read_to_string(&path).unwrap_or_default();
    assert!(parsed == expected, "{path} is not what the declarations say: set BLESS=1 and run this again");
}

#[test]
fn the_schemas_that_editors_read_are_those_of_this_program() {
    for (file, name) in FILES {
        is_written(&format!("config/schema/{name}.schema.json"), &schema(file));
    }
}

#[test]
fn every_example_names_its_schema() {
    for folder in ["config/minimal", "config/full", "deploy/systemd"] {
        for (_, name) in FILES {
            let text = fs::read_to_string(format!("{ROOT}/{folder}/{name}.yaml")).unwrap();
            let schema =
                text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
            assert!(schema.ends_with(&format!("/{name}.schema.json")), "{folder}: {schema}");
            assert!(fs::exists(format!("{ROOT}/{folder}/{schema}")).unwrap(), "{folder}: {schema}");
        }
    }
}

#[test]
fn the_reference_is_written_from_the_declarations() {
    let mut text = INTRODUCTION.to_owned();
    for (file, name) in FILES {
        text.push_str(&format!("\n## {name}.yaml\n"));
        describe(&mut text, "", &file.shape(), file == File::Proxy);
    }
    is_written("docs/CONFIGURATION.md", &text);
}

const INTRODUCTION: &str = "\
# Configuration: every key

Generated from the declarations in `src/config`, as is `mpc-auth-proxy config schema`. [config/full](../config/full) has an
example of every key; [CREDENTIALS.md](CREDENTIALS.md), [CALLERS.md](CALLERS.md) and [POLICY.md](POLICY.md) explain them.
Unknown and repeated keys are refused. Paths are relative to the file. `LIST[]` is an item of a list, and `NAME` a name of your
choice. A reload applies all of `policy.yaml`; for `proxy.yaml` the tables say which keys need a restart.

An editor with [yaml-language-server](https://github.com/redhat-developer/yaml-language-server) completes and checks a file as
you type. Its first line must be `# yaml-language-server: $schema=PATH`, with the path of the output of
`mpc-auth-proxy config schema proxy` or `policy`. `check` verifies more than a schema can: that names fit together, the
contents of the named files, the ranges of durations.
";

/// The shape of a collection's items, and their path segment.
fn inner(shape: &Shape) -> Option<(&'static str, &Shape)> {
    if let Shape::List(item) = shape {
        Some(("[]", item))
    } else if let Shape::Named { value, .. } = shape {
        Some((".NAME", value))
    } else {
        None
    }
}

/// The tables of a shape and of its nested shapes.
fn describe(text: &mut String, path: &str, shape: &Shape, says_reload: bool) {
    if let Some((suffix, inner)) = inner(shape) {
        return describe(text, &format!("{path}{suffix}"), inner, says_reload);
    }
    let Shape::Section { about, keys, rules } = shape else { return };
    if !path.is_empty() {
        text.push_str(&format!("\n### `{path}`\n"));
    }
    text.push_str(&format!("\n{about}"));
    for rule in *rules {
        text.push_str(&match rule {
            Rule::One => " Exactly one key.".into(),
            Rule::Some => " At least one key.".into(),
            Rule::Needs(key, other) => format!(" `{key}` needs `{other}`."),
            Rule::NotBoth(one, other) => format!(" Not both `{one}` and `{other}`."),
        });
    }
    text.push('\n');
    if !keys.is_empty() {
        let (more, line) = if says_reload { (" new value by |", "---|") } else { ("", "") };
        text.push_str(&format!("\n| key | value | if absent |{more} meaning |\n|---|---|---|{line}---|\n"));
    }
    for key in keys {
        text.push_str(&row(key, says_reload));
    }
    for key in keys {
        let path = if path.is_empty() { key.name.into() } else { format!("{path}.{}", key.name) };
        describe(text, &path, &key.shape, says_reload);
    }
}

fn row(key: &Key, says_reload: bool) -> String {
    let absent = match &key.presence {
        Presence::Required(example) => format!("**required**: `{example}`"),
        Presence::Absent(meaning) => (*meaning).into(),
        Presence::Default(spelled) => format!("`{spelled}`"),
    };
    let reload = match (says_reload, key.reloaded) {
        (false, _) => "",
        (true, true) => " reload |",
        (true, false) => " restart |",
    };
    let about = key.about.replace('|', "\\|");
    format!("| `{}` | {} | {absent} |{reload} {about} |\n", key.name, key.shape.words())
}

#[test]
fn the_full_sample_has_every_key_and_says_of_it_what_its_declaration_says() {
    for (file, name) in FILES {
        let text = fs::read_to_string(format!("{ROOT}/config/full/{name}.yaml")).unwrap();
        let mut sample = Sample { text: &text, comments: BTreeMap::new() };
        sample.collect(&file.shape(), (name, 0), &yaml::parse(&text).unwrap());
        sample.assert_each(&file.shape(), name);
    }
}

/// A file, and the comments of each key by its path.
struct Sample<'t> {
    text: &'t str,
    comments: BTreeMap<String, Vec<String>>,
}

impl Sample<'_> {
    fn collect(&mut self, shape: &Shape, (path, line): (&str, u32), node: &Node) {
        if let (Some((_, shape)), Value::List(items)) = (inner(shape), &node.value) {
            items.iter().for_each(|item| self.collect(shape, (path, line), item));
        } else if let (Some((_, shape)), Value::Map(entries)) = (inner(shape), &node.value) {
            entries.iter().for_each(|(_, value)| self.collect(shape, (path, line), value));
        } else if let (Shape::Section { keys, .. }, Value::Map(entries)) = (shape, &node.value) {
            for (name, value) in entries {
                let Value::Text(key) = &name.value else { panic!() };
                let key = keys.iter().find(|declared| declared.name == key).unwrap();
                let (path, place) = (format!("{path}.{}", key.name), name.place);
                // A line has the comment of its first key, and an item, which begins with its name, one of its own.
                let own = place.line != line && !matches!(key.name, "name" | "id");
                let comment = if own { self.comment(place) } else { String::new() };
                self.comments.entry(path.clone()).or_default().push(comment);
                self.collect(&key.shape, (&path, place.line), value);
            }
        }
    }

    /// The comment at the end of a line, continued below it.
    fn comment(&self, place: Position) -> String {
        let mut below = self.text.lines().skip(usize::try_from(place.line).unwrap() - 1);
        let Some((before, comment)) = below.next().unwrap().split_once(" # ") else { return String::new() };
        let more = below.map_while(|line| {
            let (before, more) = line.split_at_checked(before.len() + 1)?;
            more.strip_prefix("# ").filter(|_| before.trim().is_empty())
        });
        [comment].into_iter().chain(more).collect::<Vec<_>>().join(" ")
    }

    fn assert_each(&self, shape: &Shape, path: &str) {
        if let Some((_, shape)) = inner(shape) {
            return self.assert_each(shape, path);
        }
        let Shape::Section { keys, .. } = shape else { return };
        for key in keys {
            let path = format!("{path}.{}", key.name);
            let there = self.comments.get(&path).unwrap_or_else(|| panic!("no {path}"));
            let expected = comment_of(key);
            let silent = there.iter().all(String::is_empty);
            assert!(silent || there.contains(&expected), "{path}: {there:#?}, and not {expected:?}");
            self.assert_each(&key.shape, &path);
        }
    }
}

/// The choices, the description and the default.
fn comment_of(key: &Key) -> String {
    let mut comment = key.about.trim_end_matches('.').to_owned();
    // Names keep their capitals.
    if comment.chars().nth(1).is_some_and(|c| c.is_lowercase() || c == ' ') {
        comment = comment[..1].to_lowercase() + &comment[1..];
    }
    if let Shape::Words(words) = &key.shape {
        comment = format!("{}: {comment}", words.join(" | "));
    }
    match key.presence {
        Presence::Absent(meaning) if !meaning.is_empty() && !meaning.starts_with('`') => {
            if matches!(key.shape, Shape::Section { .. }) {
                comment
            } else {
                format!("{comment}; absent: {meaning}")
            }
        }
        Presence::Absent(_) | Presence::Required(_) | Presence::Default(_) => comment,
    }
}

#[test]
fn rules_name_keys_and_what_needs_a_restart_is_compared_by_a_reload() {
    for (file, _) in FILES {
        assert_rules(&file.shape());
    }
    let Shape::Section { keys, .. } = File::Proxy.shape() else { panic!() };
    let fixed = fs::read_to_string(format!("{ROOT}/src/reload/restart_only.rs")).unwrap();
    for key in keys.iter().filter(|key| key.name != "version") {
        let compared = fixed.contains(&format!("\n    {}: ", key.name));
        assert_eq!(compared, !key.reloaded, "{}", key.name);
    }
}

fn assert_rules(shape: &Shape) {
    if let Some((_, shape)) = inner(shape) {
        return assert_rules(shape);
    }
    let Shape::Section { keys, rules, .. } = shape else { return };
    let there = |name: &str| assert!(keys.iter().any(|key| key.name == name), "{name}");
    for rule in *rules {
        if let Rule::Needs(one, other) | Rule::NotBoth(one, other) = rule {
            there(one);
            there(other);
        }
    }
    keys.iter().for_each(|key| assert_rules(&key.shape));
}
