//! A credential: an access key, or a user token.

use std::fmt;

use http::HeaderValue;

use crate::{
    secret::{Flaw, Secret, key_text},
    signing::SigningKey,
};

/// What upstream knows us by.
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
    /// The first four characters of the access key, where it looks like one. A token has no part that may be shown.
    pub fn key_hint(&self) -> Option<&str> {
        match self {
            Self::Key(key) => key.key_hint(),
            Self::Token(_) => None,
        }
    }

    /// What of it stands in a request, and nobody may see: the token, or the security token of a temporary key. The
    /// access key too where it does not look like one, as it may be a secret that stands in its place; a shorter one may be
    /// a part of any word.
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

/// Of an access key's place, in bytes.
const MIN_SECRET: usize = 8;

impl Token {
    /// The token, as it stands wherever it comes from: see [`key_text`].
    ///
    /// # Errors
    /// What keeps it from being one.
    pub fn new(text: &Secret) -> Result<Self, Flaw> {
        // Visible ASCII is what every header can carry.
        let text = Secret::new(key_text(text.expose())?);
        text.header().map(Self).ok_or(Flaw::Control)
    }

    /// The value of `X-Auth-Token`, marked as sensitive.
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
