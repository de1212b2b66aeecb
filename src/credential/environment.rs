//! Which key is in the environment? The variables of the official SDKs.

use std::env;

use super::{Credential, Provide, ProvideError, Provided, Providing};
use crate::{secret::Secret, signing::SigningKey};

/// `HUAWEICLOUD_SDK_AK`, `HUAWEICLOUD_SDK_SK`, `HUAWEICLOUD_SDK_SECURITY_TOKEN`.
pub(super) struct Environment;

impl Provide for Environment {
    fn provide(&mut self) -> Providing<'_> {
        Box::pin(async { read(|name| env::var(name).ok()) })
    }
}

/// The text of a variable that is set to something.
pub(super) fn variable(name: &'static str) -> Result<String, ProvideError> {
    env::var(name).ok().filter(|text| !text.is_empty()).ok_or(ProvideError::Unset(name))
}

fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Provided, ProvideError> {
    let text = |name| variable(name).filter(|v| !v.is_empty());
    let access_key = text(ACCESS_KEY).ok_or(ProvideError::Unset(ACCESS_KEY))?;
    let secret_key = text(SECRET_KEY).map(Secret::new).ok_or(ProvideError::Unset(SECRET_KEY))?;
    let security_token = text(SECURITY_TOKEN).map(Secret::new);
    let key = SigningKey::new(&access_key, &secret_key, security_token)?;
    Ok(Provided { credential: Credential::Key(key), expires_at: None })
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
        assert!(read(|_| Some(String::new())).is_err());
        assert!(only(&[ACCESS_KEY, SECRET_KEY]).is_ok());
        assert!(only(&[ACCESS_KEY, SECRET_KEY, SECURITY_TOKEN]).is_ok());
    }
}
