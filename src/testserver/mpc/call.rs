//! Parses request lines into MPC's calls.

use super::job::Api;

/// A call of MPC's API.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::testserver) struct Call<'r> {
    /// The project in the path.
    pub(in crate::testserver) project_id: &'r str,
    /// The method and the URL's template, as in [`Difference::NoUrl`].
    pub(in crate::testserver) url: &'static str,
    pub(super) api: Api,
    pub(super) action: Action<'r>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<'r> {
    /// Cancels a job. There must be exactly one id.
    Cancel(Vec<&'r str>),
    Create,
    /// Views jobs by this query.
    View(Vec<(&'r str, &'r str)>),
}

impl<'r> Call<'r> {
    /// Parses a request line. The official SDKs use `v1`, the API reference `v2`.
    pub(in crate::testserver) fn parse(method: &str, target: &'r str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parts: Vec<&str> = path.split('/').collect();
        let ["", version, project_id, "editing", rest @ ..] = parts.as_slice() else { return None };
        let cancel = || Action::Cancel(job_ids(&pairs(query)));
        let view = || Action::View(pairs(query));
        let (url, action) = match (method, *version, rest) {
            ("DELETE", "v2", ["jobs", job]) => {
                ("DELETE /v2/{project_id}/editing/jobs/{job_id}", Action::Cancel(vec![job]))
            }
            ("DELETE", "v2", ["job"]) => ("DELETE /v2/{project_id}/editing/job", cancel()),
            ("DELETE", "v1", ["jobs"]) => ("DELETE /v1/{project_id}/editing/jobs", cancel()),
            ("POST", "v1", ["jobs"]) => ("POST /v1/{project_id}/editing/jobs", Action::Create),
            ("POST", "v2", ["jobs"]) => ("POST /v2/{project_id}/editing/jobs", Action::Create),
            ("GET", "v1", ["jobs"]) => ("GET /v1/{project_id}/editing/jobs", view()),
            ("GET", "v2", ["jobs"]) => ("GET /v2/{project_id}/editing/jobs", view()),
            _ => return None,
        };
        let api = if *version == "v1" { Api::V1 } else { Api::V2 };
        Some(Self { project_id, url, api, action })
    }

    /// Returns the IAM action that it needs.
    pub(in crate::testserver) fn iam_action(&self) -> &'static str {
        match self.action {
            Action::Cancel(_) => "mpc:editingTask:delete",
            Action::Create => "mpc:editingTask:create",
            Action::View(_) => "mpc:editingTask:view",
        }
    }
}

/// Returns the names and values of a query.
fn pairs(query: &str) -> Vec<(&str, &str)> {
    query.split('&').filter_map(|pair| pair.split_once('=')).collect()
}

/// Returns the values of all `job_id` in a query.
pub(super) fn job_ids<'r>(pairs: &[(&'r str, &'r str)]) -> Vec<&'r str> {
    pairs.iter().filter(|(name, _)| *name == "job_id").map(|(_, value)| *value).collect()
}

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
}
