//! Access key from a profile, an INI file of the official SDKs: `ak` and `sk` in a section, or an identity provider that
//! gives a key.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{
    Credential, Provide, ProvideError, ProvideFuture, Provided, ProviderContext,
    exchange::{CLOUD_TIMEOUT, Exchange},
    ini, oidc, read,
    source::{self, MAX_KEY_LIFETIME},
};
use crate::{secret::Secret, signing::SigningKey, upstream::Endpoint, watch};

pub(super) struct Profile {
    pub(super) settings: source::Profile,
    pub(super) provider_context: ProviderContext,
    /// The file with the identity token, if the section named one when last read.
    pub(super) id_token_file: Option<PathBuf>,
}

enum Found {
    Key(SigningKey),
    Federation(source::Oidc),
}

impl Profile {
    async fn key(&mut self) -> Result<Provided, ProvideError> {
        let section = self.settings.clone();
        match read::off_thread(move || section.read()).await? {
            Found::Key(key) => {
                self.id_token_file = None;
                Ok(Provided { credential: Credential::Key(key), expires_at: None })
            }
            Found::Federation(settings) => {
                let known = self.id_token_file.replace(settings.id_token_file.clone());
                if known.as_ref() != Some(&settings.id_token_file) {
                    read::wait_until_settled(&mut watch::Files::new([settings.id_token_file.clone()]))
                        .await?;
                }
                let exchange = Exchange::new(&settings.iam_endpoint, &self.provider_context, CLOUD_TIMEOUT)?;
                oidc::Oidc { exchange, settings }.provide().await
            }
        }
    }
}

impl source::Profile {
    pub(super) fn examine(&self) -> Result<(), ProvideError> {
        match self.read()? {
            Found::Key(_) => Ok(()),
            Found::Federation(settings) => oidc::examine(&settings),
        }
    }

    fn read(&self) -> Result<Found, ProvideError> {
        let text = read::text(&self.path)?;
        let values =
            ini::section(text.expose(), &self.section).map_err(|error| self.problem(error.to_string()))?;
        let value = |name: &str| values.get(name).map(|value| &***value).filter(|value| !value.is_empty());
        if let (Some(idp_id), Some(id_token_file)) = (value("idp_id"), value("id_token_file")) {
            return self.federation(value("iam_endpoint"), idp_id, id_token_file);
        }
        let needed = |name: &'static str| {
            value(name).ok_or_else(|| self.problem(format!("has no `{name}` in [{}]", self.section)))
        };
        let (access_key, secret_key) = (needed("ak")?, Secret::new(needed("sk")?));
        let key = SigningKey::new(access_key, &secret_key, value("security_token").map(Secret::new));
        key.map(Found::Key)
            .map_err(|error| self.problem(format!("has no valid key in [{}]: {error}", self.section)))
    }

    fn federation(
        &self,
        iam: Option<&str>,
        idp_id: &str,
        id_token_file: &str,
    ) -> Result<Found, ProvideError> {
        let iam_endpoint = match iam {
            Some(text) => {
                let endpoint = Endpoint::parse(text).ok().filter(|e| e.tls() || e.is_loopback());
                Some(endpoint.ok_or_else(|| self.problem("`iam_endpoint` is not an https:// endpoint"))?)
            }
            None => self.iam_endpoint.clone(),
        };
        let iam_endpoint = iam_endpoint.ok_or_else(|| {
            self.problem("has an identity provider but no `iam_endpoint`, and no region to derive it")
        })?;
        Ok(Found::Federation(source::Oidc {
            iam_endpoint,
            idp_id: idp_id.into(),
            id_token_file: id_token_file.into(),
            duration: MAX_KEY_LIFETIME,
        }))
    }

    fn problem(&self, problem: impl Into<String>) -> ProvideError {
        ProvideError::File { path: self.path.clone(), problem: problem.into() }
    }
}

impl Provide for Profile {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.key())
    }

    fn files(&self) -> Vec<PathBuf> {
        self.id_token_file.iter().chain([&self.settings.path]).cloned().collect()
    }
}

/// Returns the official SDKs' profile: `$HUAWEICLOUD_SDK_CREDENTIALS_FILE` or `~/.huaweicloud/credentials`. `None` if there
/// is no home directory.
pub fn default_path() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    set(CREDENTIALS_FILE)
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&set("HOME")?).join(".huaweicloud/credentials")))
}

/// The section that the official SDKs read for credentials of a project.
pub const SECTION: &str = "basic";
const CREDENTIALS_FILE: &str = "HUAWEICLOUD_SDK_CREDENTIALS_FILE";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Found, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, text).unwrap();
        let found = source::Profile { path, section: SECTION.into(), iam_endpoint: None }.read();
        found.map_err(|error| error.to_string().replace(&folder.path().display().to_string(), ""))
    }

    #[test]
    fn a_key_is_read() {
        for (text, access, secret, token) in [
            ("[basic]\nak = AK\nsk = s\n", "AK", "s", None),
            (
                "# keys\n[other]\nak = no\n[basic]\nAK=AK\nsk = s\\n=;#%%\nsecurity_token = t\n",
                "AK",
                "s\\n=;#%",
                Some("t"),
            ),
            ("[basic]\r\nak: AK\r\nsk: s/+\r\nproject_id = p\r\nsecurity_token =\r\n", "AK", "s/+", None),
            ("[DEFAULT]\nsk = s\n[basic]\nak = \u{feff}AK\n", "AK", "s", None),
        ] {
            let Ok(Found::Key(key)) = read(text) else { panic!("{text}: {:?}", read(text).err()) };
            let expected = SigningKey::new(access, &Secret::new(secret), token.map(Secret::new)).unwrap();
            assert_eq!(key, expected, "{text}");
        }
    }

    /// `tests/interop/test_profiles.py` compares with what the SDK reads from the same files.
    #[test]
    fn a_file_is_the_key_that_the_sdk_reads_or_refused() {
        #[derive(serde::Deserialize)]
        struct Case {
            name: String,
            text: String,
            key: Option<Key>,
        }
        #[derive(serde::Deserialize)]
        struct Key {
            ak: String,
            sk: Secret,
            token: Option<Secret>,
        }
        let cases = include_str!("../../tests/data/profiles.jsonl").lines();
        let cases: Vec<Case> = cases.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(cases.len(), 39);
        for Case { name, text, key } in cases {
            let expected = key.map(|key| SigningKey::new(&key.ak, &key.sk, key.token).unwrap());
            let found = match read(&text) {
                Ok(Found::Key(key)) => Some(key),
                Ok(Found::Federation(_)) | Err(_) => None,
            };
            assert_eq!(found, expected, "{name}: {:?}", read(&text).err());
        }
    }

    #[test]
    fn an_identity_provider_goes_before_a_key_and_needs_to_know_iam() {
        let text =
            "[basic]\nak=a\nsk=s\nidp_id = idp\nid_token_file = /t\niam_endpoint = https://iam.example\n";
        let Ok(Found::Federation(found)) = read(text) else { panic!("{:?}", read(text).err()) };
        assert_eq!((found.iam_endpoint.authority(), &*found.idp_id), ("iam.example", "idp"));
        for (from, to, expected) in [
            ("https://iam.example", "", "has an identity provider but no `iam_endpoint`"),
            ("https://", "http://", "`iam_endpoint` is not an https:// endpoint"),
        ] {
            let error = read(&text.replace(from, to)).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, expected) in [
            ("", "/credentials has no section [basic]"),
            ("[global]\nak=a\nsk=s", "/credentials has no section [basic]"),
            ("[basic]\nsk=s3cr3t", "/credentials has no `ak` in [basic]"),
            ("[basic]\nak=a\nsk=", "/credentials has no `sk` in [basic]"),
            ("[basic\nak=a", "/credentials is not an INI file: line 1 is before the first section"),
            (
                "[basic]\nak=a\nsk=s\ts",
                "/credentials has no valid key in [basic]: the secret key contains white space",
            ),
            (
                "[basic]\nak=a\nsk=\"s\"",
                "/credentials has no valid key in [basic]: the secret key contains a quotation mark: write the value without quotes",
            ),
        ] {
            assert_eq!(read(text).err().as_deref(), Some(expected), "{text}");
        }
    }
}
