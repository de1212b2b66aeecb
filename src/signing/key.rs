//! What does a signature need that is secret? An access key and its secret key, ready to sign.
//!
//! A key is refused here, once, when it could not be carried by a header; signing then cannot fail because of
//! it. It does not know where keys come from or when they expire.

use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// An access key (AK) and its secret key (SK), and the security token of temporary keys.
///
/// Of the secret key only the keyed HMAC state is kept, which also spares two blocks of SHA-256 a signature.
#[derive(Clone)]
pub struct SigningKey {
    access_key: Box<str>,
    keyed: Hmac<Sha256>,
    security_token: Option<Secret>,
}

/// Why a key cannot sign. Tells which part is wrong, never what it is.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The access key is empty or has a character that `Authorization` cannot carry inside `Access=`.
    #[error("the access key must be 1 or more visible ASCII characters without a comma")]
    AccessKey,
    /// The secret key is empty or has a control character, such as a line end left over from a file.
    #[error("the secret key must not be empty or have control characters")]
    SecretKey,
    /// The security token is empty or has a character that no header can carry.
    #[error("the security token must be 1 or more visible ASCII characters")]
    SecurityToken,
}

impl SigningKey {
    /// Makes a key ready to sign.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn new(
        access_key: &str,
        secret_key: &Secret,
        security_token: Option<Secret>,
    ) -> Result<Self, KeyError> {
        if !is_visible(access_key) || access_key.contains(',') {
            return Err(KeyError::AccessKey);
        }
        let secret_key = secret_key.expose();
        if secret_key.is_empty() || secret_key.contains(char::is_control) {
            return Err(KeyError::SecretKey);
        }
        if security_token.as_ref().is_some_and(|token| !is_visible(token.expose())) {
            return Err(KeyError::SecurityToken);
        }
        let keyed = Hmac::new_from_slice(secret_key.as_bytes()).map_err(|_| KeyError::SecretKey)?;
        Ok(Self { access_key: access_key.into(), keyed, security_token })
    }

    /// The access key.
    pub fn access_key(&self) -> &str {
        &self.access_key
    }

    /// The security token. Temporary keys have one.
    pub fn security_token(&self) -> Option<&Secret> {
        self.security_token.as_ref()
    }

    /// The first 4 characters of the access key: enough to tell keys apart in a record.
    pub fn key_hint(&self) -> &str {
        self.access_key.get(..4).unwrap_or(&self.access_key)
    }

    pub(super) fn hmac(&self, string_to_sign: &str) -> [u8; 32] {
        let mut mac = self.keyed.clone();
        mac.update(string_to_sign.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

/// Two keys are the same when they sign alike.
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        let [token, other_token] = [self, other].map(|key| key.security_token.as_ref().map(Secret::expose));
        self.access_key == other.access_key && token == other_token && self.hmac("") == other.hmac("")
    }
}

impl Eq for SigningKey {}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("key_hint", &self.key_hint()).finish_non_exhaustive()
    }
}

fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(access: &str, secret: &str, token: Option<&str>) -> Result<SigningKey, KeyError> {
        SigningKey::new(access, &Secret::new(secret), token.map(Secret::new))
    }

    #[test]
    fn a_key_prints_no_more_than_its_hint() {
        let key = key("AKEXAMPLE0001", "s3cr3t", Some("t0ken")).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey { key_hint: \"AKEX\", .. }");
        assert_eq!((key.access_key(), key.key_hint()), ("AKEXAMPLE0001", "AKEX"));
        assert_eq!(key.security_token().map(Secret::expose), Some("t0ken"));
    }

    #[test]
    fn the_hint_of_a_short_key_is_the_key() {
        assert_eq!(key("AK", "s", None).unwrap().key_hint(), "AK");
    }

    #[test]
    fn a_key_that_no_header_can_carry_is_refused() {
        for (access, secret, token, expected) in [
            ("", "s", None, KeyError::AccessKey),
            ("A\n", "s", None, KeyError::AccessKey),
            ("A K", "s", None, KeyError::AccessKey),
            ("A, SignedHeaders=", "s", None, KeyError::AccessKey),
            ("A,K", "s", None, KeyError::AccessKey),
            ("ÄK", "s", None, KeyError::AccessKey),
            ("AK", "", None, KeyError::SecretKey),
            ("AK", "s\n", None, KeyError::SecretKey),
            ("AK", "s\0", None, KeyError::SecretKey),
            ("AK", "s", Some(""), KeyError::SecurityToken),
            ("AK", "s", Some("t\r\nX: y"), KeyError::SecurityToken),
            ("AK", "s", Some(" t"), KeyError::SecurityToken),
            ("AK", "s", Some("é"), KeyError::SecurityToken),
        ] {
            let error = key(access, secret, token).unwrap_err();
            assert_eq!(error, expected, "{access:?} {secret:?} {token:?}");
        }
    }

    #[test]
    fn a_secret_key_may_have_any_printable_character() {
        assert!(key("AK", "p@ss wörd/+=", None).is_ok());
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_hmac_is_hmac_sha256() {
        let mac = key("AK", "Jefe", None).unwrap().hmac("what do ya want for nothing?");
        assert_eq!(hex::encode(mac), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
