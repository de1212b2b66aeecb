//! Access keys, as they are brought.

use serde::Deserialize;

use super::secrets::{optional_secret, secret};
use crate::secret::Secret;

/// An access key that is accepted, for one project.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    /// The access key id (AK).
    pub id: String,
    /// The secret key (SK).
    #[serde(deserialize_with = "secret")]
    pub secret: Secret,
    /// The security token that must come with a temporary key. A permanent key must come without one.
    #[serde(default, deserialize_with = "optional_secret")]
    pub security_token: Option<Secret>,
    /// The id of the only project the key is for.
    pub project_id: String,
}
