//! Withholds answers that contain our credential, so that it is neither passed on nor recorded.
//!
//! A gateway may answer a bad signature with the canonical request, security token included. `forward` has every answer
//! checked before anything else sees it.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use memchr::{memchr, memmem};

use crate::{credential::Credential, upstream::UpstreamAnswer};

/// Replaces an answer's body, and removes headers, that contain a credential.
pub(super) fn withhold(answer: &mut UpstreamAnswer, credential: &Credential, signature: Option<&[u8]>) {
    let holds_one = |text: &[u8]| {
        let mut secrets = credential.secrets().chain(signature);
        secrets.any(|secret| secret.len() <= text.len() && memmem::find(text, secret).is_some())
    };
    let told = |body: &[u8]| {
        let otherwise = unescaped(body);
        holds_one(body) || matches!(&otherwise, Cow::Owned(text) if holds_one(text))
    };
    if !answer.body.is_empty() && told(&answer.body) {
        let code = answer.error_code().filter(|code| !holds_one(code.as_bytes())).unwrap_or_default();
        let body = serde_json::json!({ "error_code": code, "error_msg": WITHHELD });
        answer.body = Bytes::from(body.to_string());
    }
    let leaking = |value: &HeaderValue| holds_one(value.as_bytes());
    if answer.headers.values().any(leaking) {
        answer.headers = answer
            .headers
            .drain()
            .filter_map(|(name, value)| Some((name?, value)))
            .filter(|(_, value)| !leaking(value))
            .collect();
    }
}

/// Decodes `\/` and `\uXXXX`, with which JSON could disguise a credential. Credentials have no characters with other
/// escapes. Text that is not JSON is decoded in the same way.
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr(b'\\', text) else { return Cow::Borrowed(text) };
    let (before, mut rest) = text.split_at_checked(first).unwrap_or_default();
    let mut read = Vec::with_capacity(text.len());
    read.extend_from_slice(before);
    while let Some((_, escaped)) = rest.split_first() {
        let (character, after) = number(escaped).unwrap_or_else(|| {
            let (itself, after) = escaped.split_at_checked(1).unwrap_or_default();
            (itself.first().map_or('\\', |byte| char::from(*byte)), after)
        });
        read.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        let end = memchr(b'\\', after).unwrap_or(after.len());
        let (plain, next) = after.split_at_checked(end).unwrap_or_default();
        read.extend_from_slice(plain);
        rest = next;
    }
    Cow::Owned(read)
}

/// Decodes `uXXXX` and returns the rest. Surrogate pairs are not combined.
fn number(escaped: &[u8]) -> Option<(char, &[u8])> {
    let (digits, after) = escaped.strip_prefix(b"u")?.split_at_checked(4)?;
    let digits =
        str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some((char::from_u32(number).unwrap_or(char::REPLACEMENT_CHARACTER), after))
}

const WITHHELD: &str = "mpc-auth-proxy withheld this upstream message: it contained a credential";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_read_as_whoever_is_told_reads_it() {
        for (text, read) in [
            (r#"{"a":"plain"}"#, r#"{"a":"plain"}"#),
            (r"a\/b", "a/b"),
            (r"\u0061\u002Fb\u002f", "a/b/"),
            (r"\\u0061", r"\u0061"),
            (r"\u00", "u00"),
            (r"\u+061", "u+061"),
            (r"\ud83d\ude00x", "\u{fffd}\u{fffd}x"),
            (r"\u4e2dx", "\u{4e2d}x"),
            (r"a\", r"a\"),
            ("", ""),
        ] {
            assert_eq!(&*unescaped(text.as_bytes()), read.as_bytes(), "{text}");
        }
    }
}
