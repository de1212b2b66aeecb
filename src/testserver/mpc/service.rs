//! The MPC service: executes calls on the jobs of all projects.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use super::{
    call::{Action, Call, job_ids},
    create,
    job::{Api, Job, JobState},
    list::Filters,
};
use crate::testserver::{
    Difference, Seen,
    answer::{Answer, Problem},
    differences,
};

/// The jobs of all projects, and the differences of this MPC.
#[derive(Default)]
pub(in crate::testserver) struct Jobs {
    projects: BTreeMap<String, BTreeMap<String, Job>>,
    created: u32,
    /// The number of jobs ever created.
    seen: u32,
    /// The buckets that MPC cannot read.
    pub(in crate::testserver) unreadable: Vec<String>,
    pub(in crate::testserver) differences: Vec<Difference>,
}

impl Jobs {
    /// Returns the job with this id, created if missing.
    pub(in crate::testserver) fn put(
        &mut self,
        project_id: &str,
        job_id: &str,
        now: DateTime<Utc>,
    ) -> &mut Job {
        self.seen += 1;
        let fresh = Job { state: JobState::Waiting, number: self.seen, created_at: now, request: None };
        let jobs = self.projects.entry(project_id.to_owned()).or_default();
        jobs.entry(job_id.to_owned()).or_insert(fresh)
    }

    pub(in crate::testserver) fn get(&self, project_id: &str, job_id: &str) -> Option<&Job> {
        self.projects.get(project_id)?.get(job_id)
    }

    pub(in crate::testserver) fn get_mut(&mut self, project_id: &str, job_id: &str) -> Option<&mut Job> {
        self.projects.get_mut(project_id)?.get_mut(job_id)
    }

    /// Executes an authenticated call.
    pub(in crate::testserver) fn perform(
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
        match self.get(project_id, job_id).map(|job| job.state) {
            None => self.absent(),
            Some(JobState::Waiting) => {
                self.projects.entry(project_id.to_owned()).or_default().remove(*job_id);
                Ok(Answer::empty())
            }
            Some(_) => Err(Problem::NotWaiting),
        }
    }

    /// Returns the answer to cancelling a missing job.
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
        self.differences.iter().for_each(|difference| difference.apply(call.api as u8, &mut answer));
        Ok(Answer::json(StatusCode::OK, &answer))
    }

    /// Answers with the existing jobs of these ids.
    fn view(&self, call: &Call<'_>, ids: &[&str]) -> Result<Answer, Problem> {
        if !(1..=10).contains(&ids.len()) {
            return Err(Problem::BadParameter);
        }
        let jobs = self.projects.get(call.project_id);
        let there = |id: &&str| Some(self.shown(id, jobs?.get(*id)?, call.api));
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

    /// Answers with a page of the project's jobs, as version 1 lists them.
    fn list(&self, project_id: &str, query: &[(&str, &str)]) -> Result<Answer, Problem> {
        let filters = Filters::parse(query)?;
        let jobs = self.projects.get(project_id).into_iter().flatten();
        let (total, page) = filters.choose(jobs.map(|(id, job)| (id.as_str(), job)).collect());
        let shown: Vec<Value> = page.into_iter().map(|(id, job)| self.shown(id, job, Api::V1)).collect();
        Ok(Answer::json(StatusCode::OK, &json!({ "total": total, "jobs": shown })))
    }

    fn shown(&self, id: &str, job: &Job, api: Api) -> Value {
        let mut shown = job.shown(id, api);
        self.differences.iter().for_each(|difference| difference.apply(api as u8, &mut shown));
        shown
    }
}

/// Returns an error in MPC's format. Huawei documents the format of a 500, but no code.
pub(in crate::testserver) fn error(status: StatusCode, message: &str) -> Answer {
    let code = if status.is_server_error() { "MPC.10201" } else { "MPC.10202" };
    Answer::json(status, &json!({ "error_code": code, "error_msg": message }))
}

/// The first job id, as in the API reference's example.
const FIRST_JOB_ID: u32 = 100_210;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_waiting_job_is_cancelled() {
        let (mut jobs, now) = (Jobs::default(), "2026-01-15T08:30:00Z".parse().unwrap());
        for (project_id, job_id, state) in [
            ("p", "w", JobState::Waiting),
            ("p", "r", JobState::Processing),
            ("p", "s", JobState::Succeeded),
            ("p", "f", JobState::Failed),
            ("q", "other", JobState::Waiting),
        ] {
            jobs.put(project_id, job_id, now).state = state;
        }
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
            let answer = jobs.perform(&call, &Seen::default(), now);
            assert_eq!(answer.map(|answer| answer.status), expected, "{target}");
        }
        assert_eq!(jobs.get("q", "other").unwrap().state, JobState::Waiting);
    }
}
