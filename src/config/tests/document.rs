//! Compares the documentation with what can be configured: the sources of `docs/CREDENTIALS.md`, each of its YAML blocks put
//! into one configuration, the proofs of `docs/CALLERS.md`, and the condition keys of `docs/POLICY.md`.

use super::super::kind::{Kind, Shape};
use super::super::proof::PROOF;
use super::super::yaml;
use super::*;
use crate::policy::Key;

fn document(name: &str) -> String {
    fs::read_to_string(format!("{}/docs/{name}.md", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The first cells of the tables whose first column has this head.
fn first_cells<'d>(document: &'d str, head: &str) -> Vec<&'d str> {
    let cell = |line: &'d str| line.strip_prefix('|').and_then(|row| Some(row.split_once('|')?.0.trim()));
    let mut cells = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if cell(line) == Some(head) {
            cells.extend(lines.by_ref().skip(1).map_while(cell));
        }
    }
    cells
}

#[test]
fn every_proof_has_its_row_the_strongest_first() {
    let Shape::Section { keys, .. } = PROOF.shape() else { panic!() };
    let document = document("CALLERS");
    let rows = first_cells(&document, "`identify`");
    let rows = rows.into_iter().map(|cell| cell.trim_start_matches('`').split(':').next().unwrap());
    assert_eq!(rows.rev().collect::<Vec<_>>(), keys.iter().map(|key| key.name).collect::<Vec<_>>());
}

#[test]
fn every_condition_key_has_its_row() {
    let document = document("POLICY");
    let cells = first_cells(&document, "key").into_iter();
    let rows: BTreeSet<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert_eq!(rows, Key::ALL.iter().map(|key| key.as_str()).collect());
}

#[test]
fn every_source_has_a_section_whose_configuration_is_valid() {
    let document = document("CREDENTIALS");
    let mut shown = Vec::new();
    for section in document.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap().trim_matches('`');
        for block in section.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap()) {
            if block.starts_with("credentials:") {
                assert_eq!(loaded(block).kind(), title);
                shown.push(title.to_owned());
            } else {
                // A part of a pod, which shows where the file comes from.
                assert!(block.starts_with("volumes:") && yaml::parse(block).is_ok(), "{block}");
                assert!(
                    section.contains("id_token_file: tokens/id-token") && block.contains("path: id-token")
                );
            }
        }
    }
    let all: BTreeSet<&str> = RawSource::NAMES.iter().copied().collect();
    assert_eq!((shown.len(), shown.iter().map(String::as_str).collect()), (all.len(), all));
    let summary = document.split("\n## ").next().unwrap();
    for source in RawSource::NAMES {
        assert!(summary.contains(&format!("\n| [`{source}`](#{source}) | ")), "{source}");
    }
}

/// The source of `prod`, if this is the section `credentials` of an otherwise valid configuration.
fn loaded(credentials: &str) -> Source {
    let directory = Directory::of(&format!("{SAMPLES}/minimal"));
    for secret in
        ["keys/access-key", "keys/secret-key", "keys/password", "tokens/id-token", "tokens/user-token"]
    {
        directory.write(secret, "value\n");
    }
    directory.write("keys/profile", "[basic]\nak = value\nsk = value\n");
    let proxy = fs::read_to_string(directory.path("proxy.yaml")).unwrap();
    let (before, _) = proxy.split_once("credentials:").unwrap();
    directory.write("proxy.yaml", &format!("{before}{credentials}"));
    match load(&directory.path("proxy.yaml")) {
        Ok(Loaded { settings, warnings, .. }) => {
            assert_eq!(warnings.to_string(), "", "{credentials}");
            let prod = settings.credentials.into_iter().find(|credential| &*credential.name == "prod");
            prod.unwrap().source
        }
        Err(report) => panic!("{credentials}\n{report}"),
    }
}
