//! The signing keys of a cluster, from a JSON Web Key Set (RFC 7517).
//!
//! The type of a key determines its one algorithm: RS256 for RSA, ES256 for P-256. A token's header cannot change that, so
//! neither `alg: none` nor a public key as an HMAC secret works.

use std::fmt;

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, Validation,
    jwk::{
        AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyAlgorithm, KeyOperations,
        PublicKeyUse,
    },
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::object::Object;

/// The public keys of one cluster.
pub struct KeySet {
    keys: Vec<Key>,
    digest: [u8; 32],
}

/// Why a file is not a valid key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is malformed.
    #[error("is not a JSON Web Key Set")]
    Malformed,
    /// It has neither an RSA key of at least 2048 bits nor a P-256 key for verifying signatures.
    #[error("has no key for RS256 (at least 2048 bits) or ES256")]
    NoKey,
    /// It contains private keys.
    #[error("contains a private key")]
    Private,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    Malformed,
    /// No key of the set verifies the signature.
    Signature,
    /// The signature is valid, but required claims are missing.
    Claims,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Parses a key set. Keys of other types or for other uses are ignored.
    ///
    /// # Errors
    /// See [`KeySetError`].
    pub fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let set: Value = serde_json::from_slice(json).map_err(|_| KeySetError::Malformed)?;
        let all = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        if all.iter().any(|key| key.get("d").is_some() || key.get("k").is_some()) {
            return Err(KeySetError::Private);
        }
        let keys: Vec<Key> = all.iter().filter_map(Key::parse).collect();
        if keys.is_empty() {
            return Err(KeySetError::NoKey);
        }
        Ok(Self { keys, digest: Sha256::digest(json).into() })
    }

    /// Verifies a token's signature and returns its claims.
    pub(super) fn verified<T: DeserializeOwned>(&self, token: &str) -> Result<T, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // RFC 7515, section 4.1.11: an extension that is critical and not supported makes a token invalid. We support none.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let may_have_signed = |key: &&Key| {
            let same_id = match (&key.id, &header.kid) {
                (Some(own), Some(named)) => own == named,
                (None, _) | (_, None) => true,
            };
            key.algorithm == header.alg && same_id
        };
        for key in self.keys.iter().filter(may_have_signed) {
            match jsonwebtoken::decode(token, &key.key, &signature_only(key.algorithm)) {
                Ok(token) => return Ok(token.claims),
                Err(error) if matches!(error.kind(), jsonwebtoken::errors::ErrorKind::Json(_)) => {
                    return Err(TokenError::Claims);
                }
                Err(_) => {}
            }
        }
        Err(TokenError::Signature)
    }
}

impl Key {
    fn parse(json: &Value) -> Option<Self> {
        let Object(jwk): Object<Jwk> = serde_json::from_value(json.clone()).ok()?;
        let common = &jwk.common;
        let p256 = |curve: &EllipticCurveKeyParameters| curve.curve == EllipticCurve::P256;
        let (algorithm, named) = if matches!(&jwk.algorithm, AlgorithmParameters::RSA(_)) {
            (Algorithm::RS256, KeyAlgorithm::RS256)
        } else if matches!(&jwk.algorithm, AlgorithmParameters::EllipticCurve(curve) if p256(curve)) {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        } else {
            return None;
        };
        let for_signatures = common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature)
            && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !for_signatures || common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let long_enough = match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, .. } => n.len() >= MIN_MODULUS,
            DecodingKeyKind::SecretOrDer(_) => true,
        };
        long_enough.then(|| Self { id: common.key_id.clone(), algorithm, key })
    }
}

/// Two sets are equal if their files are.
impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for KeySet {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// Returns a validation of the signature only. The library's other checks read the clock; we make them where the claims are
/// read, with time as an argument.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

/// The minimum modulus in bytes: 2048 bits.
const MIN_MODULUS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_cannot_be_used_are_passed_over() {
        let set = KeySet::parse(include_bytes!("../../tests/data/service-account/jwks.json")).unwrap();
        let kept: Vec<Option<&str>> = set.keys.iter().map(|key| key.id.as_deref()).collect();
        assert_eq!(kept, [Some("rsa"), Some("p256")]);
        assert_eq!(format!("{set:?}"), "KeySet { keys: 2, .. }");
    }

    #[test]
    fn a_file_without_a_key_to_verify_with_is_refused() {
        let p256 = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;
        let set = |more: &str| KeySet::parse(format!(r#"{{"keys":[{{{p256}{more}}}]}}"#).as_bytes());
        assert!(set("").is_ok());
        assert!(set(r#","alg":"ES256","use":"sig","key_ops":["verify"]"#).is_ok());
        for (json, expected) in [
            ("", KeySetError::Malformed),
            ("{}", KeySetError::Malformed),
            ("[]", KeySetError::Malformed),
            (r#"{"keys":{}}"#, KeySetError::Malformed),
            (r#"{"keys":[]}"#, KeySetError::NoKey),
            (r#"{"keys":[1,{"kty":"RSA"},{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#, KeySetError::NoKey),
            (r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#, KeySetError::Private),
        ] {
            assert_eq!(KeySet::parse(json.as_bytes()), Err(expected), "{json}");
        }
        for (more, expected) in [
            (r#","alg":"RS256""#, KeySetError::NoKey),
            (r#","use":"enc""#, KeySetError::NoKey),
            (r#","key_ops":["sign"]"#, KeySetError::NoKey),
            (r#","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI""#, KeySetError::Private),
        ] {
            assert_eq!(set(more), Err(expected), "{more}");
        }
    }
}
