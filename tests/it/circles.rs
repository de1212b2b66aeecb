//! Import circles: the files of a folder can be ordered so that each comes after those it imports.
//!
//! A file that declares a folder (`mod.rs`, or `x.rs` beside `x/`) counts as a file of it if it has items of its own;
//! a re-exported item counts where it is defined. Test modules are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use crate::{
    layering::{root, sources},
    words::code,
};

type Path = Vec<String>;

#[test]
fn the_files_of_a_folder_import_each_other_in_one_order() {
    let src = root().join("src");
    let name = |file: &std::path::Path| file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
    let files: Vec<(String, String)> =
        sources("src").iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect();
    let tree = Tree::of(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    assert!(tree.modules.len() > 300, "only {} modules were found", tree.modules.len());
    assert!(tree.edges().len() > 20, "hardly any imports were found");
    assert_eq!(tree.circles(), [""; 0]);
}

#[test]
fn a_circle_is_found_however_it_is_closed() {
    let lib = ("lib.rs", "pub mod a;\npub mod z;");
    let of = |files: &[(&str, &str)]| Tree::of([lib].into_iter().chain(files.iter().copied())).circles();
    let parent =
        ("a/mod.rs", "mod b;\nmod c;\n#[cfg(test)]\nmod tests;\npub use b::B;\npub use c::{C, make};");
    let c = ("a/c.rs", "pub struct C;\npub fn make() {}");
    assert_eq!(of(&[parent, c, ("a/b.rs", "use super::C;\npub struct B(C);")]), [""; 0]);
    for b in [
        "use super::C; pub struct B;",
        "use crate::a::{c::make, X}; pub struct B;",
        "pub struct B; fn f() { super::make() }",
        "pub struct B; fn f() { use super::c; c::make() }",
    ] {
        for closing in ["use super::B;", "use super::super::a::b::B;", "fn f(_: crate::a::B) {}"] {
            let c = format!("{closing}\npub struct C;\npub fn make() {{}}");
            assert_eq!(of(&[parent, ("a/b.rs", b), ("a/c.rs", &c)]), ["a: b, c"], "{b} {closing}");
            // Imports of tests close no circle, nor do comments and strings.
            let tested =
                format!("pub struct C;\npub fn make() {{}}\n#[cfg(test)]\nmod tests {{ {closing} }}");
            assert_eq!(of(&[parent, ("a/b.rs", b), ("a/c.rs", &tested), ("a/tests.rs", closing)]), [""; 0]);
        }
        let mute = "pub struct C;\npub fn make() {}\n// use super::B;\nconst A: &str = \"crate::a::B\";";
        assert_eq!(of(&[parent, ("a/b.rs", b), ("a/c.rs", mute)]), [""; 0]);
    }
}

#[test]
fn a_file_that_declares_a_folder_is_one_of_its_files() {
    let of = |files: &[(&str, &str)]| Tree::of(files.iter().copied()).circles();
    let lib = ("lib.rs", "pub mod a;");
    let holder = "mod b;\nuse b::B;\npub struct Own(B);";
    let b = ("a/b.rs", "use super::Own;\npub struct B(Box<Own>);");
    assert_eq!(of(&[lib, ("a/mod.rs", holder), b]), ["a: b, mod"]);
    assert_eq!(of(&[lib, ("a.rs", holder), b]), ["a: b, mod"]);
    // A nested folder is one unit, whichever of its files is named.
    let nested = [
        lib,
        ("a/mod.rs", "mod b;\nmod c;"),
        ("a/b/mod.rs", "mod deep;\npub use deep::Deep;"),
        ("a/b/deep.rs", "use crate::a::c::C;\npub struct Deep(C);"),
        ("a/c.rs", "use super::b::Deep;\npub struct C(Box<Deep>);"),
    ];
    assert_eq!(of(&nested), ["a: b, c"]);
}

/// The modules of a crate by their paths.
#[derive(Default)]
struct Tree {
    modules: BTreeMap<Path, Module>,
}

/// The content of a file.
#[derive(Default)]
struct Module {
    items: BTreeSet<String>,
    children: BTreeSet<String>,
    /// Imports by their local name.
    uses: Vec<(Path, String)>,
    /// Paths used, private imports included.
    paths: Vec<Path>,
    /// Names without a path.
    names: BTreeSet<String>,
}

impl Tree {
    fn of<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Self {
        let mut tree = Self::default();
        let mut tests = BTreeSet::new();
        for (file, text) in files {
            let mut path: Path = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            if matches!(path.last().unwrap().as_str(), "mod" | "lib" | "main") {
                path.pop();
            }
            let text = code(text);
            let mut lines = text.lines().peekable();
            while let Some(line) = lines.next() {
                let gated = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(any(test");
                if let Some(next) = lines.peek().filter(|_| gated)
                    && let Some((_, name)) = next.split_once("mod ")
                    && let Some(name) = name.strip_suffix(';')
                {
                    tests.insert([path.clone(), vec![name.to_owned()]].concat());
                }
            }
            let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
            tree.modules.insert(path, Module::parse(&text[..end]));
        }
        tree.modules.retain(|path, _| !(1..=path.len()).any(|length| tests.contains(&path[..length])));
        tree
    }

    /// The files of each folder that cannot be ordered.
    fn circles(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (folder, edges) in self.edges() {
            let mut reach = edges.clone();
            loop {
                let further: Vec<_> = reach
                    .iter()
                    .flat_map(|(a, b)| {
                        reach.iter().filter(move |(c, _)| b == c).map(move |(_, d)| (a.clone(), d.clone()))
                    })
                    .filter(|pair| !reach.contains(pair))
                    .collect();
                if further.is_empty() {
                    break;
                }
                reach.extend(further);
            }
            let units: BTreeSet<&String> = reach.iter().filter(|(a, b)| a == b).map(|(a, _)| a).collect();
            let mut told = BTreeSet::new();
            for unit in units {
                let others: Vec<&str> = reach
                    .iter()
                    .filter(|(a, b)| a == unit && reach.contains(&(b.clone(), a.clone())))
                    .map(|(_, b)| b.as_str())
                    .collect();
                if told.insert(others.clone()) {
                    found.push(format!("{}: {}", folder.join("/"), others.join(", ")));
                }
            }
        }
        found
    }

    /// The imports between units, by folder.
    fn edges(&self) -> BTreeMap<Path, BTreeSet<(String, String)>> {
        let mut edges: BTreeMap<Path, BTreeSet<(String, String)>> = BTreeMap::new();
        for (path, module) in &self.modules {
            let mut add = |target: Path, is_item: bool| {
                let shared = path.iter().zip(&target).take_while(|(a, b)| a == b).count();
                let unit = |path: &Path| path.get(shared).cloned().unwrap_or_else(|| "mod".into());
                let (from, to) = (unit(path), unit(&target));
                // Declaring a module does not import it.
                if shared > 0 && from != to && (is_item || from != "mod") && (is_item || to != "mod") {
                    edges.entry(path[..shared].to_vec()).or_default().insert((from, to));
                }
            };
            for named in &module.paths {
                if let Some((target, is_item)) = self.definer(path, named) {
                    add(target, is_item);
                }
            }
            for name in &module.names {
                if let Some(target) = self.item(path, name, 0).filter(|target| target != path) {
                    add(target, true);
                }
            }
        }
        edges
    }

    /// The module that defines the target of a path, and whether that is an item.
    fn definer(&self, from: &Path, path: &[String]) -> Option<(Path, bool)> {
        for length in (1..=path.len()).rev() {
            let Some(module) = self.module(from, &path[..length], 0) else { continue };
            let Some(name) = path.get(length) else { return Some((module, false)) };
            return Some((self.item(&module, name, 0)?, true));
        }
        Some((self.item(from, path.first()?, 0)?, true)).filter(|(target, _)| target != from)
    }

    fn module(&self, from: &Path, path: &[String], depth: usize) -> Option<Path> {
        let mut at = from.clone();
        for name in path {
            at = match name.as_str() {
                "crate" => Path::new(),
                "self" => at,
                "super" => at[..at.len().checked_sub(1)?].to_vec(),
                _ => {
                    let module = self.modules.get(&at)?;
                    if module.children.contains(name) {
                        [at, vec![name.clone()]].concat()
                    } else if depth < 8 {
                        let (used, _) = module.uses.iter().find(|(used, alias)| {
                            alias == name && used.as_slice() != std::slice::from_ref(name)
                        })?;
                        self.module(&at, used, depth + 1)?
                    } else {
                        return None;
                    }
                }
            };
        }
        self.modules.contains_key(&at).then_some(at)
    }

    fn item(&self, module: &Path, name: &str, depth: usize) -> Option<Path> {
        let found = self.modules.get(module)?;
        if found.items.contains(name) {
            return Some(module.clone());
        }
        found.uses.iter().filter(|(_, alias)| alias == name || alias == "*").find_map(|(used, alias)| {
            let (last, before) = used.split_last()?;
            let (from, name) =
                if alias == "*" { (&used[..used.len() - 1], name) } else { (before, last.as_str()) };
            let from = self.module(module, from, 0)?;
            if depth < 8 && from != *module { self.item(&from, name, depth + 1) } else { None }
        })
    }
}

impl Module {
    fn parse(code: &str) -> Self {
        let tokens = tokens(code);
        let mut module = Self::default();
        let (mut at, mut depth) = (0, 0);
        let is_name = |token: &str| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
        while at < tokens.len() {
            let (token, next) = (tokens[at], tokens.get(at + 1).copied().unwrap_or_default());
            let own = || next.to_owned();
            match token {
                "{" => depth += 1,
                "}" => depth -= 1,
                "use" => {
                    let end =
                        at + tokens[at..].iter().position(|token| *token == ";").unwrap_or(tokens.len() - at);
                    let is_public = at > 0 && matches!(tokens[at - 1], "pub" | ")");
                    let first = module.uses.len();
                    leaves(&tokens[at + 1..end], &[], &mut module.uses);
                    if !is_public {
                        module.paths.extend(module.uses[first..].iter().map(|(path, _)| path.clone()));
                    }
                    at = end;
                }
                "mod" if tokens.get(at + 2) == Some(&";") => drop(module.children.insert(own())),
                "mod" => drop(module.items.insert(own())),
                "struct" | "enum" | "trait" | "static" | "union" => drop(module.items.insert(own())),
                "fn" | "const" | "type" if depth == 0 && next != "fn" => drop(module.items.insert(own())),
                "macro_rules" => module.items.extend(tokens.get(at + 2).map(|name| (*name).to_owned())),
                _ if is_name(token) && (at == 0 || !matches!(tokens[at - 1], "::" | ".")) => {
                    let mut path = vec![token.to_owned()];
                    while tokens.get(at + 1) == Some(&"::")
                        && tokens.get(at + 2).is_some_and(|token| is_name(token))
                    {
                        path.push(tokens[at + 2].to_owned());
                        at += 2;
                    }
                    if path.len() > 1 {
                        module.paths.push(path);
                    } else {
                        module.names.extend(path);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        module
    }
}

/// The leaves of a tree of imports.
fn leaves(tokens: &[&str], before: &[String], found: &mut Vec<(Path, String)>) {
    let mut path = before.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            "::" | "}" => {}
            "{" => {
                let (mut depth, mut start) = (0, at + 1);
                for end in at..tokens.len() {
                    match tokens[end] {
                        "{" => depth += 1,
                        "}" => depth -= 1,
                        _ => {}
                    }
                    if (depth == 1 && tokens[end] == ",") || depth == 0 {
                        leaves(&tokens[start..end], &path, found);
                        start = end + 1;
                    }
                    if depth == 0 {
                        return;
                    }
                }
            }
            "as" => return found.push((path, tokens.get(at + 1).copied().unwrap_or_default().to_owned())),
            "self" if !path.is_empty() => {}
            name => path.push(name.to_owned()),
        }
        at += 1;
    }
    if let Some(name) = path.last().filter(|_| !tokens.is_empty()).cloned() {
        found.push((path, name));
    }
}

/// Names, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if rest.starts_with("::") => 2,
            _ if first.is_alphanumeric() || first == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            _ => first.len_utf8(),
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}
