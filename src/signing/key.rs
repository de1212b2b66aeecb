//! Signing keys: an access key and its secret key, ready to sign.
//!
//! An invalid key is rejected here, once, so that signing cannot fail because of it. The module does not know where keys
//! come from or when they expire.

use crate::secret::{Flaw, Secret, key_text};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::ops::RangeInclusive;

/// An access key (AK) and its secret key (SK), and the security token of temporary keys.
///
/// Only the keyed HMAC state of the secret key is kept, which also saves two blocks of SHA-256 per signature.
#[derive(Clone)]
pub struct SigningKey {
    access_key: Box<str>,
    keyed: Hmac<Sha256>,
    security_token: Option<Secret>,
}

/// Why a text is not a valid key. Names the part and the flaw, never the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A part is invalid.
    #[error("the {0} {1}")]
    Part(Part, Flaw),
    /// The access key has a comma, which would end it in `Authorization`.
    #[error("the access key contains a comma")]
    Comma,
    /// The access key has the length of the cloud's secret keys, and the secret key looks like an access key.
    #[error("the access key and secret key look swapped")]
    Swapped,
}

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The access key (AK).
    AccessKey,
    /// The secret key (SK).
    SecretKey,
    /// The security token.
    SecurityToken,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccessKey => "access key",
            Self::SecretKey => "secret key",
            Self::SecurityToken => "security token",
        })
    }
}

impl KeyError {
    /// Returns the invalid part.
    pub fn part(&self) -> Part {
        match self {
            Self::Part(part, _) => *part,
            Self::Comma | Self::Swapped => Part::AccessKey,
        }
    }
}

impl SigningKey {
    /// Creates a key from its parts as found in a source; see [`key_text`].
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(
        access_key: &str,
        secret_key: &Secret,
        security_token: Option<Secret>,
    ) -> Result<Self, KeyError> {
        let access_key = part(Part::AccessKey, access_key)?;
        let secret_key = part(Part::SecretKey, secret_key.expose())?;
        let token = |token: Secret| part(Part::SecurityToken, token.expose()).map(Secret::new);
        let security_token = security_token.map(token).transpose()?;
        if access_key.contains(',') {
            return Err(KeyError::Comma);
        }
        if access_key.len() == SECRET_KEY_LENGTH
            && is_access_key(secret_key, ACCESS_KEY_LENGTH..=ACCESS_KEY_LENGTH)
        {
            return Err(KeyError::Swapped);
        }
        Self::keyed(access_key, secret_key, security_token)
    }

    /// Creates a key of a test vector without checks.
    #[cfg(test)]
    pub(crate) fn of_vector(access_key: &str, secret_key: &str, security_token: Option<Secret>) -> Self {
        Self::keyed(access_key, secret_key, security_token).unwrap()
    }

    fn keyed(access_key: &str, secret_key: &str, security_token: Option<Secret>) -> Result<Self, KeyError> {
        let keyed = Hmac::new_from_slice(secret_key.as_bytes());
        let keyed = keyed.map_err(|_| KeyError::Part(Part::SecretKey, Flaw::Empty))?;
        Ok(Self { access_key: access_key.into(), keyed, security_token })
    }

    /// Returns the access key.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// Returns the security token of a temporary key.
    pub fn security_token(&self) -> Option<&Secret> {
        self.security_token.as_ref()
    }

    /// Returns the part of the access key that may be shown; see [`hint`].
    pub fn key_hint(&self) -> Option<&str> {
        hint(&self.access_key)
    }

    /// Returns a fingerprint of the secret key, which reveals no more than a signature.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.hmac("")
    }

    pub(super) fn hmac(&self, string_to_sign: &str) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(string_to_sign.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Two keys are equal if they sign alike.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        let [token, other_token] = [self, other].map(|key| key.security_token.as_ref().map(Secret::expose));
        self.access_key == other.access_key
            && token == other_token
            && self.fingerprint() == other.fingerprint()
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key_hint", &self.key_hint()).finish_non_exhaustive()
    }
}

fn part(part: Part, text: &str) -> Result<&str, KeyError> {
    key_text(text).map_err(|flaw| KeyError::Part(part, flaw))
}

/// Returns the first 4 characters of an access key, enough to tell keys apart. `None` if it does not look like one, because
/// it may be a misplaced secret.
pub fn hint(access_key: &str) -> Option<&str> {
    if is_access_key(access_key, 16..=32) { access_key.get(..4) } else { None }
}

fn is_access_key(text: &str, length: RangeInclusive<usize>) -> bool {
    length.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// The length of the cloud's access keys.
const ACCESS_KEY_LENGTH: usize = 20;
const SECRET_KEY_LENGTH: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(access: &str, secret: &str, token: Option<&str>) -> Result<SigningKey, KeyError> {
        SigningKey::new(access, &Secret::new(secret), token.map(Secret::new))
    }

    #[test]
    fn a_key_prints_no_more_than_its_hint() {
        let key = key("AKEXAMPLE00000000001", "s3cr3t", Some("t0ken")).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey { key_hint: Some(\"AKEX\"), .. }");
        assert_eq!((key.access_key(), key.key_hint()), ("AKEXAMPLE00000000001", Some("AKEX")));
        assert_eq!(key.security_token().map(Secret::expose), Some("t0ken"));
    }

    #[test]
    fn what_may_be_a_secret_in_the_access_keys_place_has_no_hint() {
        for (access, expected) in [
            ("AKEXAMPLE0000001", Some("AKEX")),
            ("AKEXAMPLE000001", None),
            ("AK", None),
            ("akexample00000000001", None),
            ("AKEXAMPLE0000000000000000000000012", None),
            ("SkExampleKeyForTestVectorsOnly0000000001", None),
        ] {
            assert_eq!(key(access, "s", None).unwrap().key_hint(), expected, "{access}");
        }
    }

    #[test]
    fn what_stands_around_the_parts_is_no_part_of_them() {
        let expected = key("AKEXAMPLE", "s3cr3t", Some("t0ken")).unwrap();
        assert_eq!(key("\u{feff}AKEXAMPLE\r\n", " s3cr3t \n", Some("t0ken\n\n")).unwrap(), expected);
    }

    #[test]
    fn a_key_that_cannot_be_one_is_refused() {
        use {Flaw::*, Part::*};
        let (access, secret) = ("AKEXAMPLE00000000001", "SkExampleKeyForTestVectorsOnly0000000001");
        for (access, secret, token, expected) in [
            ("", "s", None, KeyError::Part(AccessKey, Empty)),
            ("A K", "s", None, KeyError::Part(AccessKey, WhiteSpace)),
            ("A,SignedHeaders=", "s", None, KeyError::Comma),
            ("\u{c4}K", "s", None, KeyError::Part(AccessKey, NotAscii)),
            ("AK", "\n", None, KeyError::Part(SecretKey, Empty)),
            ("AK", "s\ns", None, KeyError::Part(SecretKey, Lines)),
            ("AK", "s\0", None, KeyError::Part(SecretKey, Control)),
            ("AK", "'s'", None, KeyError::Part(SecretKey, Quote)),
            ("AK", "s", Some(""), KeyError::Part(SecurityToken, Empty)),
            ("AK", "s", Some("t\r\nX: y"), KeyError::Part(SecurityToken, Lines)),
            (secret, access, None, KeyError::Swapped),
        ] {
            let error = key(access, secret, token).unwrap_err();
            assert_eq!(error, expected, "{access:?} {secret:?} {token:?}");
        }
        assert!(key(access, secret, None).is_ok());
        // Only one of the two having the other's format is not a swap.
        assert!(key(secret, secret, None).is_ok() && key(access, access, None).is_ok());
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_hmac_is_hmac_sha256() {
        let mac = key("AK", "Jefe", None).unwrap().hmac("what do ya want for nothing?");
        assert_eq!(hex::encode(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
