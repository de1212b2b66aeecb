//! A credential: an access key, or a user token.

use std::fmt;

use http::HeaderValue;

use crate::{
    secret::{Flaw, Secret, key_text},
    signing::SigningKey,
};

/// The credential of a request to upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Requests are signed with an access key.
    Key(SigningKey),
    /// Requests carry a user token as `X-Auth-Token`.
    Token(Token),
}

/// A user token, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(HeaderValue);

impl Credential {
    /// Returns the first four characters of the access key, if it looks like one. No part of a token may be shown.
    pub fn key_hint(&self) -> Option<&str> {
        match self {
            Self::Key(key) => key.key_hint(),
            Self::Token(_) => None,
        }
    }

    /// Returns the parts that a request contains and nobody may see: the token, or the security token of a temporary key;
    /// also an access key that does not look like one, because it may be a misplaced secret. Short ones are left out,
    /// because any word may contain them.
    pub fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let (token, access_key) = match self {
            Self::Key(key) => (key.security_token().map(|token| token.expose().as_bytes()), Some(key)),
            Self::Token(token) => (Some(token.header().as_bytes()), None),
        };
        let access_key =
            access_key.filter(|key| key.key_hint().is_none()).map(|key| key.access_key().as_bytes());
        token.into_iter().chain(access_key.filter(|key| key.len() >= MIN_SECRET))
    }
}

/// The shortest misplaced secret in bytes.
const MIN_SECRET: usize = 8;

impl Token {
    /// Parses a token; see [`key_text`].
    ///
    /// # Errors
    /// Why it is not a valid token.
    pub fn new(text: &Secret) -> Result<Self, Flaw> {
        // A header can carry visible ASCII only.
        let text = Secret::new(key_text(text.expose())?);
        text.header().map(Self).ok_or(Flaw::Control)
    }

    /// Returns the value of `X-Auth-Token`, marked as sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_line_of_visible_ascii() {
        for bad in ["", "a b", "a\nb", "é", "\u{7f}"] {
            assert!(Token::new(&Secret::new(bad)).is_err(), "{bad:?}");
        }
        let token = Token::new(&Secret::new("MIIE\n")).unwrap();
        assert_eq!(token.header(), "MIIE");
        assert_eq!(format!("{:?}", Credential::Token(token)), "Token([token])");
    }
}
