//! The services of the cloud.

use serde::{Deserialize, Serialize};

/// A service of the cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Media processing: whatever is not another's.
    #[default]
    Mpc,
    /// Identity, version 3: paths that start with `/v3/` or `/v3.0/`.
    Iam,
    /// Security tokens, version 5: paths that start with `/v5/`.
    Sts,
    /// The metadata of a machine: paths that start with `/openstack/` or `/meta-data/`.
    Metadata,
    /// The pod identity agent: the pods' paths.
    PodIdentity,
}
