//! Editing jobs: state, create request, and format in each API version.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The state of a job. Only a waiting one can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// Accepted, and not yet queued.
    Init,
    /// Queued.
    Waiting,
    /// Being worked on.
    Processing,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Cancelled. A job that is cancelled here is gone instead.
    Canceled,
}

/// The versions of the editing API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::testserver) enum Api {
    V1 = 1,
    V2 = 2,
}

/// A job.
#[derive(Clone, Debug)]
pub(in crate::testserver) struct Job {
    pub(in crate::testserver) state: JobState,
    /// The number of jobs before it, for the order of lists.
    pub(super) number: u32,
    pub(super) created_at: DateTime<Utc>,
    /// Its create request. `None` if a test added it.
    pub(in crate::testserver) request: Option<Value>,
}

impl Api {
    /// Returns this version's word for a state.
    pub(super) fn word(self, state: JobState) -> &'static str {
        match (self, state) {
            (_, JobState::Init) => "INIT",
            (_, JobState::Waiting) => "WAITING",
            (_, JobState::Processing) => "PROCESSING",
            (Self::V1, JobState::Succeeded) => "SUCCEED",
            (Self::V2, JobState::Succeeded) => "SUCCEEDED",
            (_, JobState::Failed) => "FAILED",
            (_, JobState::Canceled) => "CANCELED",
        }
    }
}

impl Job {
    /// Formats it for this version: the first with its create request, the second without.
    pub(super) fn shown(&self, id: &str, api: Api) -> Value {
        let request = self.request.clone().unwrap_or_else(|| json!({}));
        let (status, created) = (api.word(self.state), self.created_at.format(TIME).to_string());
        let mut job = match api {
            Api::V1 => json!({
                "task_id": id, "job_id": id, "status": status, "create_time": created, "description": "",
                "user_data": request.get("user_data"), "edit_type": request.get("edit_type"),
                "output": request.pointer("/output_setting/output"), "edit_task_req": request, "output_file_info": [],
            }),
            Api::V2 => json!({
                "job_id": id, "status": status, "create_time": created, "description": "",
                "user_data": request.get("user_data"),
                "progress": if self.state == JobState::Succeeded { 100 } else { 0 },
                "output": request.get("output"),
            }),
        };
        // Members that were not requested are left out.
        job.as_object_mut().into_iter().for_each(|job| job.retain(|_, value| !value.is_null()));
        job
    }
}

/// The format of times in queries and answers: `yyyymmddhhmmss`.
pub(super) const TIME: &str = "%Y%m%d%H%M%S";
