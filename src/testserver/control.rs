//! The control endpoint under `/_test/`, for tests that are not written in Rust.

use chrono::TimeDelta;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    Cloud, Difference, JobState, MetadataMode, Planned, Seen, Service, answer::Answer, seen::bodies,
};

/// Whether a target belongs to the control endpoint.
pub(super) fn serves(target: &str) -> bool {
    target.starts_with("/_test/")
}

/// Answers a control request.
pub(super) fn answer(cloud: &Cloud, request: &Seen) -> Answer {
    let path: Vec<&str> = request.target.split('/').skip(2).collect();
    let done = match &*request.method {
        "GET" => look(cloud, &path).map(Some),
        method => change(cloud, method, &path, &request.body),
    };
    match done {
        Ok(None) => Answer::empty(),
        Ok(Some(body)) => Answer::json(StatusCode::OK, &body),
        Err((status, message)) => Answer::json(status, &json!({ "error": message })),
    }
}

type Failure = (StatusCode, String);

fn look(cloud: &Cloud, path: &[&str]) -> Result<Value, Failure> {
    let found = match path {
        ["requests"] => Some(json!(cloud.requests())),
        ["faults"] => Some(json!(cloud.faults())),
        ["jobs", project_id, job_id] => {
            let request = cloud.job_request(project_id, job_id);
            cloud.job_state(project_id, job_id).map(|state| match request {
                None => json!({ "state": state }),
                Some(request) => json!({ "state": state, "create": request }),
            })
        }
        ["differences"] => Some(json!(cloud.differences())),
        ["keys", id] => cloud.bad_signatures(id).map(|attempts| json!(attempts)),
        ["users", domain, name] => cloud.wrong_passwords(domain, name).map(|attempts| json!(attempts)),
        _ => return Err(no_such_request()),
    };
    found.ok_or_else(|| (StatusCode::NOT_FOUND, "there is none of this name".to_owned()))
}

fn change(cloud: &Cloud, method: &str, path: &[&str], body: &[u8]) -> Result<Option<Value>, Failure> {
    match (method, path) {
        ("DELETE", ["requests"]) => cloud.clear_requests(),
        ("PUT", ["faults"]) => cloud.set_faults(parse::<Vec<Planned>>(body)?),
        ("DELETE", ["faults"]) => cloud.set_faults([]),
        ("PUT", ["jobs", project_id, job_id]) => {
            let Job { state, create } = parse(body)?;
            cloud.put_job(project_id, job_id, state);
            if let Some(request) = create {
                cloud.set_job_request(project_id, job_id, request);
            }
        }
        ("PUT", ["differences"]) => cloud.set_differences(parse::<Vec<Difference>>(body)?),
        ("DELETE", ["differences"]) => cloud.set_differences([]),
        ("PUT", ["unreadable-buckets"]) => cloud.set_unreadable_buckets(parse(body)?),
        ("POST", ["tokens"]) => {
            let token = cloud.issue_token(&parse::<TokenFor>(body)?.project_id);
            return Ok(Some(json!({ "token": token })));
        }
        ("DELETE", ["tokens"]) => cloud.revoke_tokens(),
        ("PUT", ["clock"]) => {
            cloud.set_clock_offset(TimeDelta::seconds(parse::<Clock>(body)?.offset_s.into()));
        }
        ("PUT", ["lifetimes"]) => parse::<Lifetimes>(body)?.set(cloud),
        ("PUT", ["keys"]) => cloud.put_access_key(parse(body)?),
        ("DELETE", ["keys"]) => cloud.revoke_temporary_keys(),
        ("DELETE", ["keys", id]) => cloud.revoke_access_key(id),
        ("PUT", ["keys", id, "actions"]) => cloud.set_allowed_actions(id, Some(parse(body)?)),
        ("DELETE", ["keys", id, "actions"]) => cloud.set_allowed_actions(id, None),
        ("PUT", ["users"]) => cloud.put_user(parse(body)?),
        ("PUT", ["identity-providers"]) => cloud.put_identity_provider(parse(body)?),
        ("PUT", ["agencies"]) => cloud.put_agency(parse(body)?),
        ("PUT", ["pods"]) => cloud.put_pod(parse(body)?),
        ("PUT", ["metadata"]) => cloud.set_metadata_mode(parse::<Metadata>(body)?.mode),
        ("PUT", ["metadata", "rotation"]) => {
            let before_end = parse::<Rotation>(body)?.before_end_s;
            cloud.set_metadata_rotation(TimeDelta::seconds(before_end.into()));
        }
        ("DELETE", ["metadata", "key"]) => cloud.rotate_metadata_key(),
        _ => return Err(no_such_request()),
    }
    Ok(None)
}

fn no_such_request() -> Failure {
    (StatusCode::NOT_FOUND, "the control endpoint has no such request".to_owned())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}

bodies! {
    struct Job { state: JobState, create: Option<Value> }
    struct TokenFor { project_id: String }
    struct Clock { offset_s: i32 }
    struct Metadata { mode: MetadataMode }
    struct Rotation { before_end_s: u32 }
    struct Lifetimes { iam: Option<u32>, sts: Option<u32>, metadata: Option<u32>, pod_identity: Option<u32> }
}

impl Lifetimes {
    fn set(&self, cloud: &Cloud) {
        for (service, seconds) in [
            (Service::Iam, self.iam),
            (Service::Sts, self.sts),
            (Service::Metadata, self.metadata),
            (Service::PodIdentity, self.pod_identity),
        ] {
            cloud.set_lifetime(service, seconds.map(|seconds| TimeDelta::seconds(seconds.into())));
        }
    }
}
