//! Editing jobs. Its state, what it was created from, and how each version shows it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How far a job is. Only a waiting one can be cancelled.
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
    V1,
    V2,
}

/// A job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) state: JobState,
    /// How many were there before it, for the order of lists.
    pub(super) number: u32,
    pub(super) created_at: DateTime<Utc>,
    /// The body that asked for it. `None` where a test just put it there.
    pub(super) request: Option<Value>,
}

impl Api {
    /// Its number.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// Its word for a state.
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
    /// As this version shows it: the first with everything that was asked for, the second without.
    pub(super) fn shown(&self, id: &str, api: Api) -> Value {
        let asked = |name: &str| self.request.as_ref().and_then(|request| request.get(name)).cloned();
        let mut job = Map::new();
        if api == Api::V1 {
            job.insert("task_id".into(), id.into());
        }
        job.insert("job_id".into(), id.into());
        job.insert("status".into(), api.word(self.state).into());
        job.insert("create_time".into(), self.created_at.format(TIME).to_string().into());
        job.insert("description".into(), "".into());
        let mut insert = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                job.insert(name.into(), value);
            }
        };
        insert("user_data", asked("user_data"));
        match api {
            Api::V1 => {
                insert("edit_type", asked("edit_type"));
                let setting = asked("output_setting");
                insert("output", setting.and_then(|setting| setting.get("output").cloned()));
                insert("edit_task_req", Some(self.request.clone().unwrap_or_else(|| json!({}))));
                insert("output_file_info", Some(json!([])));
            }
            Api::V2 => {
                let done = if self.state == JobState::Succeeded { 100 } else { 0 };
                insert("progress", Some(done.into()));
                insert("output", asked("output"));
            }
        }
        job.into()
    }
}

/// As in queries and answers: `yyyymmddhhmmss`.
pub(super) const TIME: &str = "%Y%m%d%H%M%S";
