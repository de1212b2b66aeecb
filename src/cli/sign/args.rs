//! The arguments of `sign`, each parsed into a type of its own by clap, which reports invalid ones.

use std::path::PathBuf;

use anyhow::ensure;

use crate::{
    cli::output::Format,
    signing::Timestamp,
    upstream::{Endpoint, EndpointError},
};

/// The arguments of `sign`. The key comes from `HUAWEICLOUD_SDK_AK`, `HUAWEICLOUD_SDK_SK` and, if temporary,
/// `HUAWEICLOUD_SDK_SECURITY_TOKEN`.
#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The method, in upper case
    #[arg(long, value_name = "M")]
    pub method: String,
    /// The URL as it will be sent, with its escapes
    #[arg(long, value_name = "URL", value_parser = Url::parse)]
    pub url: Url,
    /// A header to send and, unless its name has a `_`, to sign; `Host` overrides the URL's
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = Header::parse)]
    pub headers: Vec<Header>,
    /// The file with the body
    #[arg(long, value_name = "FILE")]
    pub body_file: Option<PathBuf>,
    /// The signing time in UTC [default: now]
    #[arg(long, value_name = "YYYYMMDDTHHMMSSZ", value_parser = Timestamp::parse)]
    pub date: Option<Timestamp>,
    /// Also print the canonical request and the string to sign; JSON always has them
    #[arg(long)]
    pub explain: bool,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// The parts of a URL as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Url {
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) query: String,
}

/// A header from `-H`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Header {
    pub(super) name: String,
    pub(super) value: String,
}

impl Url {
    /// Splits a URL into its parts. Nothing is decoded or normalised, because exactly what is written is signed.
    pub(in crate::cli) fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(!text.contains('#'), "a `#` fragment is never sent, so it cannot be signed");
        let (scheme, rest) = text.split_once("://").ok_or(EndpointError::Scheme)?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        Endpoint::parse(&format!("{scheme}://{authority}"))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        ensure!(!path.is_empty(), "the URL has no path: add at least `/`");
        Ok(Self { authority: authority.into(), path: path.into(), query: query.into() })
    }
}

impl Header {
    /// Splits `Name: value`.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
        Ok(Self { name: name.into(), value: value.trim_matches([' ', '\t']).into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::arguments::parse;

    #[test]
    fn an_argument_that_cannot_be_read_is_a_usage_error() {
        for (arguments, expected) in [
            (&["--method", "GET", "--url", "h/p"] as &[_], "https://"),
            (&["--method", "GET", "--url", "http://h"], "no path"),
            (&["--method", "GET", "--url", "http://h?a"], "no path"),
            (&["--method", "GET", "--url", "http://h/#f"], "never sent"),
            (&["--method", "GET", "--url", "http://u@h/"], "no path, query or user"),
            (&["--method", "GET", "--url", "http:///p"], "host"),
            (&["--method", "GET", "--url", "http://h/", "-H", "A"], "Name: value"),
            (&["--method", "GET", "--url", "http://h/", "--date", "today"], "YYYYMMDDTHHMMSSZ"),
            (&["--method", "GET"], "--url"),
        ] {
            let Err(error) = parse::<Args>(arguments) else { panic!("{arguments:?}") };
            assert_eq!(error.exit_code(), 2, "{arguments:?}");
            assert!(error.to_string().contains(expected), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_url_is_split_as_it_was_written() {
        let url = Url::parse("https://MPC.Example:443//a/%2E%2e/?q=/?&r=%2f").unwrap();
        assert_eq!(
            (&*url.authority, &*url.path, &*url.query),
            ("MPC.Example:443", "//a/%2E%2e/", "q=/?&r=%2f")
        );
        assert_eq!(Url::parse("http://[::1]:8080/").unwrap().authority, "[::1]:8080");
    }
}
