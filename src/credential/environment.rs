//! Access key from the environment variables of the official SDKs.

use std::env;

use super::{Credential, Provide, ProvideError, ProvideFuture, Provided};
use crate::{
    secret::Secret,
    signing::{Part, SigningKey},
};

/// `HUAWEICLOUD_SDK_AK`, `HUAWEICLOUD_SDK_SK`, `HUAWEICLOUD_SDK_SECURITY_TOKEN`.
pub(super) struct Environment;

impl Provide for Environment {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(async { read(set) })
    }
}

/// Checks that the environment now holds a key.
pub(super) fn examine() -> Result<(), ProvideError> {
    read(set).map(drop)
}

/// Returns the text of a variable that is set and not empty.
pub(super) fn variable(name: &'static str) -> Result<String, ProvideError> {
    set(name).ok_or(ProvideError::Unset(name))
}

/// Returns a variable. White space alone counts as unset; text that is not UTF-8 does not, so that it is rejected later.
fn set(name: &str) -> Option<String> {
    env::var_os(name).map(|text| text.to_string_lossy().into_owned()).filter(|text| !text.trim().is_empty())
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Provided, ProvideError> {
    let access_key = variable(ACCESS_KEY).ok_or(ProvideError::Unset(ACCESS_KEY))?;
    let secret_key = variable(SECRET_KEY).map(Secret::new).ok_or(ProvideError::Unset(SECRET_KEY))?;
    let security_token = variable(SECURITY_TOKEN).map(Secret::new);
    let key = SigningKey::new(&access_key, &secret_key, security_token).map_err(|error| {
        let place = format!("the environment variable {}", variable_of(error.part()));
        ProvideError::Key { place: place.into(), error }
    })?;
    Ok(Provided { credential: Credential::Key(key), expires_at: None })
}

/// Returns the variable that holds this part of a key.
pub fn variable_of(part: Part) -> &'static str {
    match part {
        Part::AccessKey => ACCESS_KEY,
        Part::SecretKey => SECRET_KEY,
        Part::SecurityToken => SECURITY_TOKEN,
    }
}

pub(super) const ACCESS_KEY: &str = "HUAWEICLOUD_SDK_AK";
const SECRET_KEY: &str = "HUAWEICLOUD_SDK_SK";
const SECURITY_TOKEN: &str = "HUAWEICLOUD_SDK_SECURITY_TOKEN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_empty_variable_is_named() {
        let only = |set: &'static [&str]| read(move |name| set.contains(&name).then(|| "value".to_owned()));
        assert_eq!(
            only(&[]).unwrap_err().to_string(),
            "the environment variable HUAWEICLOUD_SDK_AK is not set"
        );
        let error = only(&[ACCESS_KEY]).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable HUAWEICLOUD_SDK_SK is not set");
        assert!(only(&[ACCESS_KEY, SECRET_KEY]).is_ok());
        assert!(only(&[ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN]).is_ok());
    }

    #[test]
    fn a_variable_that_holds_no_part_of_a_key_is_named() {
        let (access, secret) = ("AKEXAMPLE00000000001", "SkExampleKeyForTestVectorsOnly0000000001");
        let told = |values: [&'static str; 3]| {
            let names = [ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN];
            let value =
                move |name: &str| names.iter().position(|n| *n == name).map(|at| values[at].to_owned());
            read(value).map_err(|error| error.to_string())
        };
        assert!(told(["\u{feff}AKEXAMPLE00000000001\r\n", "s3cr3t\n", "t "]).is_ok());
        for (values, expected) in [
            (["A K", "s", "t"], "HUAWEICLOUD_SDK_AK has no valid key: the access key contains white space"),
            (
                ["AK", "s\ns", "t"],
                "HUAWEICLOUD_SDK_SK has no valid key: the secret key has more than one line",
            ),
            (
                ["AK", "s", "\u{fffd}"],
                "HUAWEICLOUD_SDK_SECURITY_TOKEN has no valid key: the security token contains a non-ASCII character",
            ),
            (
                [secret, access, "t"],
                "HUAWEICLOUD_SDK_AK has no valid key: the access key and secret key look swapped",
            ),
        ] {
            assert_eq!(told(values).unwrap_err(), format!("the environment variable {expected}"));
        }
    }
}
