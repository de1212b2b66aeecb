//! Real clients: their requests are accepted unchanged on a listener that identifies its caller.

use serde_json::Value;

use super::{Case, Then, Told, judge};
use crate::harness::PROJECT;

#[test]
fn real_clients_and_proxies_in_front_of_them_are_served_as_they_are() {
    let mut refused = 0;
    let cases = RECORDED.lines().enumerate().map(|(number, line)| {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let bytes = recorded["bytes"].as_str().unwrap();
        let name = format!("{number} {}", recorded["client"].as_str().unwrap());
        if recorded["want"] == "refuse" {
            refused += 1;
            return Case::bad(name, bytes);
        }
        let (line, headers) = bytes.split_once("\r\n").unwrap();
        let mut words = line.split(' ');
        let target = words.nth(1).unwrap().replace("media-prod", PROJECT);
        let closes =
            |line: &str| line.to_ascii_lowercase().starts_with("connection:") && line.contains("close");
        let then = match words.next() == Some("HTTP/1.0") || headers.lines().any(closes) {
            true => Then::Closed,
            false => Then::Usable,
        };
        Case::told(name, bytes, vec![Told::Cancelled(target)], then)
    });
    judge(123, cases);
    assert_eq!(refused, 4);
}

const RECORDED: &str = include_str!("../../data/clients.jsonl");
