//! SPIFFE ids and DNS names as written in policies.
//!
//! They are compared byte for byte with those in certificates, so each id pins its trust domain. Names with a second
//! spelling are rejected here.

use std::{fmt, sync::Arc};

/// A SPIFFE id: `spiffe://TRUST-DOMAIN/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpiffeId(Arc<str>);

/// A DNS name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName(Arc<str>);

/// Why a text is not a valid name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(&'static str);

impl SpiffeId {
    /// Parses an id by the grammar of the SPIFFE-ID specification, section 2. It must have a path: without one it names the
    /// trust domain, not a workload.
    ///
    /// # Errors
    /// [`NameError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_ID {
            return Err(NameError("a SPIFFE id has at most 2048 bytes"));
        }
        let rest = text.strip_prefix("spiffe://").ok_or(NameError("a SPIFFE id starts with `spiffe://`"))?;
        let (domain, path) = rest.split_once('/').ok_or(NameError("a SPIFFE id has a path"))?;
        let in_domain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if !(1..=MAX_TRUST_DOMAIN).contains(&domain.len()) || !domain.bytes().all(in_domain) {
            return Err(NameError("a trust domain is 1 to 255 of a-z 0-9 . - _"));
        }
        let in_segment = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        for segment in path.split('/') {
            if segment.is_empty() || matches!(segment, "." | "..") || !segment.bytes().all(in_segment) {
                return Err(NameError(
                    "a SPIFFE id's path is segments of A-Z a-z 0-9 . - _ separated by single `/`",
                ));
            }
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl DnsName {
    /// Parses a DNS name, ignoring case. Wildcards are rejected: they would identify anybody with any certificate of that
    /// domain.
    ///
    /// # Errors
    /// [`NameError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let in_label = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(in_label);
        if text.contains('*') {
            return Err(NameError("patterns are not supported: write one whole name"));
        }
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(NameError("a DNS name is labels of A-Z a-z 0-9 - _ separated by single dots"));
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SPIFFE-ID, section 2.3.
const MAX_ID: usize = 2048;
/// SPIFFE-ID, section 2.1.
const MAX_TRUST_DOMAIN: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spiffe_id_is_read_by_its_grammar() {
        let longest_domain = format!("spiffe://{}/a", "d".repeat(255));
        for text in [
            "spiffe://media.example/ns/prod/sa/batch-cleaner",
            "spiffe://d/A-Z_0.9",
            "spiffe://10.0.0.1/...",
            &longest_domain,
        ] {
            assert_eq!(SpiffeId::parse(text).map(|id| id.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn whatever_has_a_second_spelling_is_no_spiffe_id() {
        let too_long = format!("spiffe://d/{}", "a".repeat(2048));
        let too_long_domain = format!("spiffe://{}/a", "d".repeat(256));
        for text in [
            "",
            "media.example/ns/prod",
            "https://media.example/a",
            "SPIFFE://media.example/a",
            "spiffe:/media.example/a",
            "spiffe:///a",
            "spiffe://media.example",
            "spiffe://media.example/",
            "spiffe://Media.example/a",
            "spiffe://media.example:443/a",
            "spiffe://user@media.example/a",
            "spiffe://média/a",
            "spiffe://media.example/a/",
            "spiffe://media.example//a",
            "spiffe://media.example/a/../b",
            "spiffe://media.example/./a",
            "spiffe://media.example/a%2Fb",
            "spiffe://media.example/*",
            "spiffe://media.example/a?b",
            "spiffe://media.example/a#b",
            "spiffe://media.example/a ",
            &too_long,
            &too_long_domain,
        ] {
            assert!(SpiffeId::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_dns_name_is_one_whole_name_in_any_case() {
        for (text, name) in [("a", "a"), ("Cleaner.Media.SVC", "cleaner.media.svc"), ("x_1.y-2", "x_1.y-2")] {
            assert_eq!(DnsName::parse(text).map(|name| name.to_string()), Ok(name.to_owned()));
        }
        let too_long = "a.".repeat(127) + "a";
        for text in ["", ".", "a.", ".a", "a..b", "*.media.svc", "*", "a b", "a/b", "é", &too_long] {
            assert!(DnsName::parse(text).is_err(), "{text}");
        }
    }
}
