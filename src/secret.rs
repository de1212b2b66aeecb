//! How is a secret kept from being seen? A text that does not print and is zeroed when dropped.
//!
//! It stands beside the clock because every later module may hold one. It does not encrypt, and
//! it cannot keep a copy made with [`Secret::expose`] from being printed: look for that word.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret text: a secret key, a token, a password.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<str>>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. The only way out: what is done with it is the caller's responsibility.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value of a header that carries it: marked as sensitive, and zeroed when its last clone is dropped. `None`
    /// where no header can.
    pub fn header(&self) -> Option<HeaderValue> {
        let text = Bytes::from_owner(Zeroizing::new(self.expose().as_bytes().to_vec()));
        let mut value = HeaderValue::from_maybe_shared(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        Box::<str>::deserialize(text).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("s3cr3t");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
        assert_eq!(secret.expose(), "s3cr3t");
        let header = secret.header().unwrap();
        assert_eq!((header.as_bytes(), format!("{header:?}").as_str()), (&b"s3cr3t"[..], "Sensitive"));
        assert!(Secret::new("two\nlines").header().is_none());
    }
}
