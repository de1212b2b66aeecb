//! Which jobs are there, and what may be done with them? MPC's editing jobs.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Problem};

/// How far a job is. Only a waiting one can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// Queued.
    Waiting,
    /// Being worked on.
    Processing,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
}

/// A request that MPC's API knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'r> {
    /// The project in the path.
    pub(super) project_id: &'r str,
    action: Action<'r>,
}

#[derive(Debug, PartialEq, Eq)]
enum Action<'r> {
    /// Cancels the job of these ids: there must be exactly one.
    Cancel(Vec<&'r str>),
    Create,
    View(Vec<&'r str>),
}

/// The jobs of all projects.
#[derive(Default)]
pub(super) struct Jobs {
    states: BTreeMap<String, BTreeMap<String, JobState>>,
    created: u32,
}

impl<'r> Call<'r> {
    /// Reads the request line. The official SDKs say `v1` where the API reference says `v2`.
    pub(super) fn parse(method: &str, target: &'r str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let (project_id, action) = match (method, parts.as_slice()) {
            ("DELETE", ["", "v2", project, "editing", "jobs", job]) => (project, Action::Cancel(vec![job])),
            ("DELETE", ["", "v2", project, "editing", "job"] | ["", "v1", project, "editing", "jobs"]) => {
                (project, Action::Cancel(job_ids(query)))
            }
            ("POST", ["", "v1" | "v2", project, "editing", "jobs"]) => (project, Action::Create),
            ("GET", ["", "v1" | "v2", project, "editing", "jobs"]) => (project, Action::View(job_ids(query))),
            _ => return None,
        };
        Some(Self { project_id, action })
    }
}

impl Jobs {
    /// Adds a job, or changes its state.
    pub(super) fn put(&mut self, project_id: &str, job_id: &str, state: JobState) {
        self.states.entry(project_id.to_owned()).or_default().insert(job_id.to_owned(), state);
    }

    /// A job's state. `None` where there is no such job, or it was cancelled.
    pub(super) fn state(&self, project_id: &str, job_id: &str) -> Option<JobState> {
        self.states.get(project_id)?.get(job_id).copied()
    }

    /// Does what an authenticated call asks for.
    pub(super) fn perform(&mut self, call: &Call<'_>, body: &[u8]) -> Result<Answer, Problem> {
        match &call.action {
            Action::Cancel(ids) => self.cancel(call.project_id, ids),
            Action::Create => self.create(call.project_id, body),
            Action::View(ids) => self.view(call.project_id, ids),
        }
    }

    fn cancel(&mut self, project_id: &str, ids: &[&str]) -> Result<Answer, Problem> {
        let [job_id] = ids else { return Err(Problem::BadParameter) };
        if job_id.is_empty() {
            return Err(Problem::BadParameter);
        }
        match self.state(project_id, job_id) {
            None => Err(Problem::NoSuchTask),
            Some(JobState::Waiting) => {
                self.states.entry(project_id.to_owned()).or_default().remove(*job_id);
                Ok(Answer::empty())
            }
            Some(JobState::Processing | JobState::Succeeded | JobState::Failed) => Err(Problem::NotWaiting),
        }
    }

    fn create(&mut self, project_id: &str, body: &[u8]) -> Result<Answer, Problem> {
        if !matches!(serde_json::from_slice(body), Ok(Value::Object(_))) {
            return Err(Problem::BadParameter);
        }
        self.created += 1;
        let job_id = (FIRST_JOB_ID + self.created).to_string();
        self.put(project_id, &job_id, JobState::Waiting);
        Ok(Answer::json(StatusCode::OK, &json!({ "job_id": job_id })))
    }

    fn view(&self, project_id: &str, ids: &[&str]) -> Result<Answer, Problem> {
        if !(1..=10).contains(&ids.len()) {
            return Err(Problem::BadParameter);
        }
        let known = |id: &&str| Some(json!({ "job_id": id, "status": self.state(project_id, id)? }));
        let jobs: Value = ids.iter().filter_map(known).collect();
        Ok(Answer::json(StatusCode::OK, &jobs))
    }
}

/// An error in MPC's shape. Huawei documents the shape of a 500, and no code for it.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let code = if status.is_server_error() { "MPC.10201" } else { "MPC.10202" };
    Answer::json(status, &json!({ "error_code": code, "error_msg": message }))
}

/// The values of every `job_id` in a query.
fn job_ids(query: &str) -> Vec<&str> {
    query.split('&').filter_map(|pair| pair.strip_prefix("job_id=")).collect()
}

/// What the API reference's example counts from.
const FIRST_JOB_ID: u32 = 100_210;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_a_call_or_no_such_api() {
        let cancel = |job| Some(Call { project_id: "p", action: Action::Cancel(vec![job]) });
        for (method, target, expected) in [
            ("DELETE", "/v2/p/editing/jobs/7", cancel("7")),
            ("DELETE", "/v2/p/editing/job?job_id=7", cancel("7")),
            ("DELETE", "/v1/p/editing/jobs?job_id=7", cancel("7")),
            ("DELETE", "/v1/p/editing/jobs/7", None),
            ("DELETE", "/v1/p/editing/job?job_id=7", None),
            ("DELETE", "/v2/p/editing/jobs?job_id=7", None),
            ("DELETE", "/v2/p/editing/jobs/7/", None),
            ("DELETE", "//v2/p/editing/jobs/7", None),
            ("PUT", "/v2/p/editing/jobs/7", None),
        ] {
            assert_eq!(Call::parse(method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn only_one_waiting_job_is_cancelled() {
        let mut jobs = Jobs::default();
        jobs.put("p", "w", JobState::Waiting);
        jobs.put("p", "r", JobState::Processing);
        jobs.put("p", "s", JobState::Succeeded);
        jobs.put("p", "f", JobState::Failed);
        jobs.put("q", "other", JobState::Waiting);
        for (target, expected) in [
            ("/v2/p/editing/job", Err(Problem::BadParameter)),
            ("/v2/p/editing/job?job_id=", Err(Problem::BadParameter)),
            ("/v2/p/editing/job?job_id=w&job_id=w", Err(Problem::BadParameter)),
            ("/v2/p/editing/jobs/", Err(Problem::BadParameter)),
            ("/v2/p/editing/jobs/r", Err(Problem::NotWaiting)),
            ("/v2/p/editing/jobs/s", Err(Problem::NotWaiting)),
            ("/v2/p/editing/jobs/f", Err(Problem::NotWaiting)),
            ("/v2/p/editing/jobs/other", Err(Problem::NoSuchTask)),
            ("/v2/p/editing/jobs/w", Ok(StatusCode::NO_CONTENT)),
            ("/v2/p/editing/jobs/w", Err(Problem::NoSuchTask)),
        ] {
            let call = Call::parse("DELETE", target).unwrap();
            assert_eq!(jobs.perform(&call, b"").map(|answer| answer.status), expected, "{target}");
        }
        assert_eq!(jobs.state("q", "other"), Some(JobState::Waiting));
    }
}
