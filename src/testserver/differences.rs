//! Deliberate differences from the documented cloud, for testing the contract check.
//!
//! The documentation may be wrong about the real MPC. Each of these is one way in which it may be.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A way in which MPC differs from its documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Difference {
    /// There is no such URL: `{"no_url":"DELETE /v2/{project_id}/editing/job"}`.
    NoUrl(String),
    /// Success has another status: `{"status":{"action":"mpc:editingTask:delete","is":200}}`.
    Status {
        /// The IAM action.
        action: String,
        /// The status in place of the documented one.
        is: u16,
    },
    /// A job in an answer lacks a member: `{"lacks":{"version":1,"member":"edit_task_req"}}`.
    Lacks {
        /// Of the API.
        version: u8,
        /// Its name.
        member: String,
    },
    /// A member of a job in an answer has another name: `{"renamed":{"version":2,"member":"job_id","to":"id"}}`.
    Renamed {
        /// Of the API.
        version: u8,
        /// Its documented name.
        member: String,
        /// Its name here.
        to: String,
    },
    /// A status has another word: `{"word":{"version":1,"word":"WAITING","is":"QUEUED"}}`.
    Word {
        /// Of the API.
        version: u8,
        /// As documented.
        word: String,
        /// As here.
        is: String,
    },
    /// Job ids in answers are numbers: `"numeric_ids"`.
    NumericIds,
    /// A view of missing jobs is 403 `MPC.10211` instead of an empty list: `"absent_is_an_error"`.
    AbsentIsAnError,
    /// Cancelling a missing job has another answer: `{"absent_on_cancel":{"status":404,"code":"MPC.10299"}}`.
    AbsentOnCancel {
        /// The status in place of 403.
        status: u16,
        /// The code in place of `MPC.10211`.
        code: String,
    },
    /// Jobs start as soon as they are created, and cannot be cancelled any more: `"starts_at_once"`.
    StartsAtOnce,
    /// Only one spelling of the project's header is known: `{"project_header":"x-project_id"}`.
    ProjectHeader(String),
}

impl Difference {
    /// Changes a job in an answer of this version.
    pub(super) fn apply(&self, of: u8, job: &mut Value) {
        let Some(members) = job.as_object_mut() else { return };
        match self {
            Self::Lacks { version, member } if *version == of => {
                members.shift_remove(member);
            }
            Self::Renamed { version, member, to } if *version == of => {
                if let Some(value) = members.shift_remove(member) {
                    members.insert(to.clone(), value);
                }
            }
            Self::Word { version, word, is } if *version == of => {
                if let Some(status) = members.get_mut("status").filter(|status| **status == **word) {
                    *status = is.clone().into();
                }
            }
            Self::NumericIds => {
                if let Some(id) = members.get_mut("job_id")
                    && let Some(number) = id.as_str().and_then(|id| id.parse::<u64>().ok())
                {
                    *id = number.into();
                }
            }
            Self::Lacks { .. }
            | Self::Renamed { .. }
            | Self::Word { .. }
            | Self::NoUrl(_)
            | Self::Status { .. }
            | Self::AbsentIsAnError
            | Self::StartsAtOnce
            | Self::AbsentOnCancel { .. }
            | Self::ProjectHeader(_) => {}
        }
    }
}

/// Returns the status of success, by default the documented one.
pub(super) fn status(differences: &[Difference], of: &str, documented: StatusCode) -> StatusCode {
    let other = |difference: &Difference| {
        let Difference::Status { action, is } = difference else { return None };
        StatusCode::from_u16(*is).ok().filter(|_| action == of)
    };
    differences.iter().find_map(other).unwrap_or(documented)
}

/// Returns the only accepted spelling of the project header, if restricted.
pub(super) fn project_header(differences: &[Difference]) -> Option<&str> {
    differences.iter().find_map(|difference| {
        let Difference::ProjectHeader(name) = difference else { return None };
        Some(name.as_str())
    })
}
