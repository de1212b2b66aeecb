//! The MPC service. MPC's editing jobs, in both versions of their API.

mod create;
mod job;
mod list;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Problem};
use super::differences::{self, Difference};
use super::seen::Seen;
use job::{Api, Job};
use list::Filters;

pub use job::JobState;

/// A request that MPC's API knows.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call<'r> {
    /// The project in the path.
    pub(super) project_id: &'r str,
    /// The method and the URL without what varies, as [`Difference::NoUrl`] names it.
    pub(super) url: &'static str,
    api: Api,
    action: Action<'r>,
}

#[derive(Debug, PartialEq, Eq)]
enum Action<'r> {
    /// Cancels the job of these ids: there must be exactly one.
    Cancel(Vec<&'r str>),
    Create,
    /// Shows what this query asks for.
    View(Vec<(&'r str, &'r str)>),
}

/// The jobs of all projects, and what is odd about this MPC.
#[derive(Default)]
pub(super) struct Jobs {
    projects: BTreeMap<String, BTreeMap<String, Job>>,
    created: u32,
    /// How many there ever were.
    seen: u32,
    /// The buckets that MPC may not read.
    pub(super) unreadable: Vec<String>,
    pub(super) differences: Vec<Difference>,
}

impl<'r> Call<'r> {
    /// Reads the request line. The official SDKs say `v1` where the API reference says `v2`.
    pub(super) fn parse(method: &str, target: &'r str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let (url, project_id, action) = match (method, parts.as_slice()) {
            ("DELETE", ["", "v2", project, "editing", "jobs", job]) => {
                ("DELETE /v2/{project_id}/editing/jobs/{job_id}", project, Action::Cancel(vec![job]))
            }
            ("DELETE", ["", "v2", project, "editing", "job"]) => {
                ("DELETE /v2/{project_id}/editing/job", project, Action::Cancel(job_ids(&pairs(query))))
            }
            ("DELETE", ["", "v1", project, "editing", "jobs"]) => {
                ("DELETE /v1/{project_id}/editing/jobs", project, Action::Cancel(job_ids(&pairs(query))))
            }
            ("POST", ["", "v1", project, "editing", "jobs"]) => {
                ("POST /v1/{project_id}/editing/jobs", project, Action::Create)
            }
            ("POST", ["", "v2", project, "editing", "jobs"]) => {
                ("POST /v2/{project_id}/editing/jobs", project, Action::Create)
            }
            ("GET", ["", "v1", project, "editing", "jobs"]) => {
                ("GET /v1/{project_id}/editing/jobs", project, Action::View(pairs(query)))
            }
            ("GET", ["", "v2", project, "editing", "jobs"]) => {
                ("GET /v2/{project_id}/editing/jobs", project, Action::View(pairs(query)))
            }
            _ => return None,
        };
        let api = if path.starts_with("/v1/") { Api::V1 } else { Api::V2 };
        Some(Self { project_id, url, api, action })
    }

    /// The IAM action that it needs.
    pub(super) fn iam_action(&self) -> &'static str {
        match self.action {
            Action::Cancel(_) => "mpc:editingTask:delete",
            Action::Create => "mpc:editingTask:create",
            Action::View(_) => "mpc:editingTask:view",
        }
    }
}

impl Jobs {
    /// Adds a job, or changes its state.
    pub(super) fn put(&mut self, project_id: &str, job_id: &str, (state, now): (JobState, DateTime<Utc>)) {
        self.seen += 1;
        let number = self.seen;
        let jobs = self.projects.entry(project_id.to_owned()).or_default();
        let fresh = || Job { state, number, created_at: now, request: None };
        jobs.entry(job_id.to_owned()).or_insert_with(fresh).state = state;
    }

    /// Has this body be what asked for a job that is there.
    pub(super) fn set_request(&mut self, project_id: &str, job_id: &str, request: Value) {
        if let Some(job) = self.projects.get_mut(project_id).and_then(|jobs| jobs.get_mut(job_id)) {
            job.request = Some(request);
        }
    }

    /// A job's state. `None` where there is no such job, or it was cancelled.
    pub(super) fn state(&self, project_id: &str, job_id: &str) -> Option<JobState> {
        Some(self.projects.get(project_id)?.get(job_id)?.state)
    }

    /// The body that asked for a job. `None` where there is none.
    pub(super) fn request(&self, project_id: &str, job_id: &str) -> Option<&Value> {
        self.projects.get(project_id)?.get(job_id)?.request.as_ref()
    }

    /// Does what an authenticated call asks for.
    pub(super) fn perform(
        &mut self,
        call: &Call<'_>,
        request: &Seen,
        now: DateTime<Utc>,
    ) -> Result<Answer, Problem> {
        let mut answer = match &call.action {
            Action::Cancel(ids) => self.cancel(call.project_id, ids),
            Action::Create => self.create(call, request, now),
            Action::View(query) if call.api == Api::V1 && job_ids(query).is_empty() => {
                self.list(call.project_id, query)
            }
            Action::View(query) => self.view(call, &job_ids(query)),
        }?;
        answer.status = differences::status(&self.differences, call.iam_action(), answer.status);
        Ok(answer)
    }

    fn cancel(&mut self, project_id: &str, ids: &[&str]) -> Result<Answer, Problem> {
        let [job_id] = ids else { return Err(Problem::BadParameter) };
        if job_id.is_empty() {
            return Err(Problem::BadParameter);
        }
        match self.state(project_id, job_id) {
            None => self.absent(),
            Some(JobState::Waiting) => {
                self.projects.entry(project_id.to_owned()).or_default().remove(*job_id);
                Ok(Answer::empty())
            }
            Some(
                JobState::Init
                | JobState::Processing
                | JobState::Succeeded
                | JobState::Failed
                | JobState::Canceled,
            ) => Err(Problem::NotWaiting),
        }
    }

    /// What cancelling a job ends in that is not there.
    fn absent(&self) -> Result<Answer, Problem> {
        let other = self.differences.iter().find_map(|difference| {
            let Difference::AbsentOnCancel { status, code } = difference else { return None };
            Some((StatusCode::from_u16(*status).ok()?, code))
        });
        let Some((status, code)) = other else { return Err(Problem::NoSuchTask) };
        Ok(Answer::json(status, &json!({ "error_code": code, "error_msg": "The task does not exist" })))
    }

    fn create(&mut self, call: &Call<'_>, request: &Seen, now: DateTime<Utc>) -> Result<Answer, Problem> {
        let body = create::body_of(request, &self.unreadable)?;
        let jobs = self.projects.entry(call.project_id.to_owned()).or_default();
        let job_id = loop {
            self.created += 1;
            let job_id = (FIRST_JOB_ID + self.created).to_string();
            if !jobs.contains_key(&job_id) {
                break job_id;
            }
        };
        self.seen += 1;
        let starts = self.differences.contains(&Difference::StartsAtOnce);
        let state = if starts { JobState::Processing } else { JobState::Waiting };
        let number = self.seen;
        jobs.insert(job_id.clone(), Job { state, number, created_at: now, request: Some(body) });
        let mut answer = json!({ "job_id": job_id });
        self.differences.iter().for_each(|difference| difference.apply(call.api.number(), &mut answer));
        Ok(Answer::json(StatusCode::OK, &answer))
    }

    /// The jobs of these ids that are there.
    fn view(&self, call: &Call<'_>, ids: &[&str]) -> Result<Answer, Problem> {
        if !(1..=10).contains(&ids.len()) {
            return Err(Problem::BadParameter);
        }
        let jobs = self.projects.get(call.project_id);
        let there = |id: &&str| Some(self.shown((id, jobs?.get(*id)?), call.api));
        let found: Vec<Value> = ids.iter().filter_map(there).collect();
        if found.is_empty() && self.differences.contains(&Difference::AbsentIsAnError) {
            return Err(Problem::NoSuchTask);
        }
        let answer = match call.api {
            Api::V1 => json!({ "total": found.len(), "jobs": found }),
            Api::V2 => json!({ "job_array": found }),
        };
        Ok(Answer::json(StatusCode::OK, &answer))
    }

    /// A page of the project's jobs, as version 1 lists them.
    fn list(&self, project_id: &str, query: &[(&str, &str)]) -> Result<Answer, Problem> {
        let filters = Filters::parse(query)?;
        let jobs = self.projects.get(project_id).into_iter().flatten();
        let (total, page) = filters.choose(jobs.map(|(id, job)| (id.as_str(), job)).collect());
        let shown: Vec<Value> = page.into_iter().map(|job| self.shown(job, Api::V1)).collect();
        Ok(Answer::json(StatusCode::OK, &json!({ "total": total, "jobs": shown })))
    }

    fn shown(&self, (id, job): (&str, &Job), api: Api) -> Value {
        let mut shown = job.shown(id, api);
        self.differences.iter().for_each(|difference| difference.apply(api.number(), &mut shown));
        shown
    }
}

/// An error in MPC's shape. Huawei documents the shape of a 500, and no code for it.
pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    let code = if status.is_server_error() { "MPC.10201" } else { "MPC.10202" };
    Answer::json(status, &json!({ "error_code": code, "error_msg": message }))
}

/// The names and values of a query.
fn pairs(query: &str) -> Vec<(&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('=')).collect()
}

/// The values of every `job_id` in a query.
fn job_ids<'r>(pairs: &[(&'r str, &'r str)]) -> Vec<&'r str> {
    pairs.iter().filter(|(name, _)| *name == "job_id").map(|(_, value)| *value).collect()
}

/// What the API reference's example counts from.
const FIRST_JOB_ID: u32 = 100_210;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_a_call_or_no_such_api() {
        let cancel = |job| Some(("p", Action::Cancel(vec![job])));
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
            let parsed = Call::parse(method, target).map(|call| (call.project_id, call.action));
            assert_eq!(parsed, expected, "{method} {target}");
        }
    }

    #[test]
    fn only_one_waiting_job_is_cancelled() {
        let (mut jobs, now) = (Jobs::default(), "2026-01-15T08:30:00Z".parse().unwrap());
        jobs.put("p", "w", (JobState::Waiting, now));
        jobs.put("p", "r", (JobState::Processing, now));
        jobs.put("p", "s", (JobState::Succeeded, now));
        jobs.put("p", "f", (JobState::Failed, now));
        jobs.put("q", "other", (JobState::Waiting, now));
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
            assert_eq!(
                jobs.perform(&call, &Seen::default(), now).map(|answer| answer.status),
                expected,
                "{target}"
            );
        }
        assert_eq!(jobs.state("q", "other"), Some(JobState::Waiting));
    }
}
