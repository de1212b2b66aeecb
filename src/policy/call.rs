//! What is asked of a policy, and about which projects.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};

use super::Facts;
use crate::identity::CallerId;

/// What is asked of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who calls.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project by its configured name.
    pub project: &'a str,
    /// The job's id. `None`: the call creates one.
    pub job: Option<&'a str>,
    /// What is known of the job.
    pub facts: &'a Facts,
    /// When it came in.
    pub at: DateTime<Utc>,
    /// The address it came from. `None` on a Unix socket.
    pub source_ip: Option<IpAddr>,
    /// The listener it came in on, where that is known.
    pub listener: Option<&'a str>,
    /// The kind of proof that identified the caller, where that is known.
    pub identified_by: Option<&'a str>,
}

/// A configured project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its id at Huawei Cloud.
    pub id: Arc<str>,
}
