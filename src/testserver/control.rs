//! How does a test that is not written in Rust ask for what it needs? The control endpoint under `/_test/`.

use chrono::TimeDelta;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Answer;
use super::cloud::Cloud;
use super::faults::Planned;
use super::mpc::JobState;
use super::seen::Seen;

/// Whether a target is the control endpoint's and not the cloud's.
pub(super) fn serves(target: &str) -> bool {
    target.starts_with("/_test/")
}

/// Answers a request of the test's own.
pub(super) fn answer(cloud: &Cloud, request: &Seen) -> Answer {
    let path: Vec<&str> = request.target.split('/').skip(2).collect();
    match perform(cloud, (&request.method, &path), &request.body) {
        Ok(None) => Answer::empty(),
        Ok(Some(body)) => Answer::json(StatusCode::OK, &body),
        Err((status, message)) => Answer::json(status, &json!({ "error": message })),
    }
}

type Failure = (StatusCode, String);

fn perform(cloud: &Cloud, request: (&str, &[&str]), body: &[u8]) -> Result<Option<Value>, Failure> {
    match request {
        ("GET", ["requests"]) => return Ok(Some(json!(cloud.requests()))),
        ("DELETE", ["requests"]) => cloud.clear_requests(),
        ("GET", ["faults"]) => return Ok(Some(json!(cloud.faults()))),
        ("PUT", ["faults"]) => cloud.set_faults(parse::<Vec<Planned>>(body)?),
        ("DELETE", ["faults"]) => cloud.set_faults([]),
        ("GET", ["jobs", project_id, job_id]) => {
            let state = cloud.job_state(project_id, job_id);
            let state = state.ok_or_else(|| (StatusCode::NOT_FOUND, "there is no such job".to_owned()))?;
            return Ok(Some(json!({ "state": state })));
        }
        ("PUT", ["jobs", project_id, job_id]) => {
            cloud.put_job(project_id, job_id, parse::<Job>(body)?.state);
        }
        ("POST", ["tokens"]) => {
            let token = cloud.issue_token(&parse::<TokenFor>(body)?.project_id);
            return Ok(Some(json!({ "token": token })));
        }
        ("DELETE", ["tokens"]) => cloud.revoke_tokens(),
        ("PUT", ["clock"]) => {
            let seconds = parse::<Clock>(body)?.offset_s;
            cloud.set_clock_offset(TimeDelta::seconds(seconds.into()));
        }
        _ => return Err((StatusCode::NOT_FOUND, "the control endpoint has no such request".to_owned())),
    }
    Ok(None)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    state: JobState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFor {
    project_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    offset_s: i32,
}
