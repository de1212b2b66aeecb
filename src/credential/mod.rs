//! Which key or token is in force now?
//!
//! It stands before configuration because a [`Source`] is what a user may write there.

use std::path::PathBuf;

/// Where a credential comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `HUAWEICLOUD_SDK_AK`, `_SK` and, for temporary keys, `_SECURITY_TOKEN`.
    Environment,
    /// One file a value, each holding the value and perhaps a line end.
    Files {
        /// The access key (AK).
        access_key: PathBuf,
        /// The secret key (SK).
        secret_key: PathBuf,
        /// The security token of temporary keys.
        security_token: Option<PathBuf>,
    },
    /// A user token, for `X-Auth-Token`.
    TokenFile {
        /// The file that holds it.
        path: PathBuf,
    },
}
