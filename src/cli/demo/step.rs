//! The calls of the tour, shown as curl commands but made without curl.

use std::{fs, path::PathBuf};

use crate::cli::client;

/// One call of the tour.
pub(super) struct Step<'d> {
    pub(super) title: &'static str,
    pub(super) authority: &'d str,
    pub(super) method: &'static str,
    pub(super) target: &'static str,
    pub(super) token: Option<PathBuf>,
    pub(super) body: Option<&'static str>,
}

/// The caller of a step.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StepCaller {
    /// Identified by the listener.
    Editor,
    /// Identified by its token.
    Packager,
    /// Not identified.
    Stranger,
}

/// The tour: caller, method, target, and what the step shows.
pub(super) const STEPS: [(StepCaller, &str, &str, &str); 8] = [
    (
        StepCaller::Editor,
        "POST",
        "/v1/media-prod/editing/jobs",
        "editor-api creates a job with its own input, output and name, and without a key",
    ),
    (StepCaller::Editor, "GET", "/v1/media-prod/editing/jobs?job_id=100215", "editor-api views it"),
    (
        StepCaller::Editor,
        "DELETE",
        "/v2/media-prod/editing/jobs/100215",
        "editor-api cancels it: the proxy looks up its owner, and MPC cancels it",
    ),
    (
        StepCaller::Packager,
        "DELETE",
        "/v1/media-prod/editing/jobs?job_id=100214",
        "packager cancels its own job, in the URL form of Huawei's SDKs",
    ),
    (
        StepCaller::Packager,
        "DELETE",
        "/v2/media-prod/editing/jobs/100212",
        "packager tries to cancel editor-api's job: denied by policy, nothing is sent",
    ),
    (
        StepCaller::Packager,
        "POST",
        "/v1/media-prod/editing/jobs",
        "packager tries to create a job in editor-api's name and place: denied by policy",
    ),
    (
        StepCaller::Stranger,
        "DELETE",
        "/v2/media-prod/editing/jobs/100212",
        "a caller without a token: unknown caller, nothing is sent",
    ),
    (
        StepCaller::Editor,
        "DELETE",
        "/v2/media-prod/editing/jobs/100213",
        "editor-api cancels its own job that already runs: allowed here, refused by MPC",
    ),
];

/// The body of the creates.
pub(super) const BODY: &str = r#"{"edit_type":["CLIP"],"clips":[{"input":{"bucket":"media-in","location":"cn-north-4","object":"raw.mp4"}}],"output_setting":{"output":{"bucket":"media-out","location":"cn-north-4","object":"editor-api/clip-9/"}},"user_data":"editor-api/clip-9"}"#;

impl Step<'_> {
    pub(super) fn curl(&self) -> String {
        let mut line = format!("curl -i -X {} 'http://{}{}'", self.method, self.authority, self.target);
        if let Some(path) = &self.token {
            line.push_str(&format!("{NEXT}-H \"Authorization: Bearer $(cat {})\"", path.display()));
        }
        if let Some(body) = self.body {
            line.push_str(&format!("{NEXT}-H 'Content-Type: application/json' -d '{body}'"));
        }
        line
    }

    /// Makes the call.
    pub(super) async fn call(&self) -> anyhow::Result<String> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.authority);
        if let Some(path) = &self.token {
            head.push_str(&format!("Authorization: Bearer {}\r\n", fs::read_to_string(path)?));
        }
        if self.body.is_some() {
            head.push_str("Content-Type: application/json\r\n");
        }
        Ok(client::over_tcp(self.authority, &head, self.body).await?.text)
    }
}

const NEXT: &str = " \\\n           ";
