//! The call that a policy evaluates, and the projects it knows.

use std::{net::IpAddr, sync::Arc};

use chrono::{DateTime, Utc};

use super::Facts;
use crate::identity::CallerId;

/// A call as a policy evaluates it.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The caller.
    pub caller: &'a CallerId,
    /// The IAM action.
    pub action: &'a str,
    /// The project by its configured name.
    pub project: &'a str,
    /// The job's id. `None` if the call creates one.
    pub job: Option<&'a str>,
    /// The facts of the job.
    pub facts: &'a Facts,
    /// When it arrived.
    pub at: DateTime<Utc>,
    /// The source address. `None` on a Unix socket.
    pub source_ip: Option<IpAddr>,
    /// The listener, if known.
    pub listener: Option<&'a str>,
    /// The kind of credential that identified the caller, if known.
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
