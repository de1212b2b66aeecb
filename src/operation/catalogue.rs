//! The catalogue: one row per operation, with everything that others need to know about it.
//!
//! The grammar of targets follows from the rows, which also determine routing, composing, retries and limits.

/// A row of the catalogue: method, URL, IAM action, and how such a call is made.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// The method.
    pub method: &'static str,
    /// The URL with the placeholders `{project_id}` and `{job_id}`. Also the audit record's `http.route`.
    pub template: &'static str,
    /// The IAM action, as in Huawei's own policies.
    pub action: &'static str,
    /// The API version, which determines the format of bodies and answers.
    pub version: Version,
    /// Which of several equivalent URLs it is, if a project can choose.
    pub form: Option<Form>,
    /// The place of its job ids.
    pub jobs: JobIds,
    /// Whether it has a body.
    pub has_body: bool,
    /// Whether it reads or writes.
    pub access: Access,
    /// Whether executing it twice has the same effect as once.
    pub idempotent: bool,
    /// The maximum size of an answer's body.
    pub largest_answer: usize,
}

/// The versions of the editing API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// The version that every official SDK uses today. Its answers contain the whole create request.
    V1,
    /// The version that the API reference describes. Its answers do not.
    V2,
}

/// The three URLs Huawei accepts for cancelling a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/v2/{project_id}/editing/jobs/{job_id}`: the API reference, section "URI".
    Path,
    /// `/v2/{project_id}/editing/job?job_id=…`: the API reference, section "Example requests".
    Query,
    /// `/v1/{project_id}/editing/jobs?job_id=…`: what every official SDK sends.
    V1,
}

/// The place of job ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobIds {
    /// One, in the path.
    Path,
    /// One, as the only parameter of the query.
    Query,
    /// One to ten different ones, as the only parameters of the query.
    Queries,
    /// The same, or none: then status, time and page select what is listed.
    QueriesOrList,
    /// One, in the answer, assigned by the cloud.
    Answer,
}

/// Whether an operation reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// It changes something, and is refused while its caller is frozen.
    Write,
}

/// Creates an editing job.
pub const CREATE: &str = "mpc:editingTask:create";
/// Cancels an editing job.
pub const DELETE: &str = "mpc:editingTask:delete";
/// Views editing jobs.
pub const VIEW: &str = "mpc:editingTask:view";
/// Every IAM action that a policy can name. The first is the default of tools.
pub const ACTIONS: [&str; 3] = [DELETE, CREATE, VIEW];

/// The operations of the proxy: the whole life of an editing job.
pub const CATALOGUE: &[Operation] = &[
    cancel("/v2/{project_id}/editing/jobs/{job_id}", Form::Path),
    cancel("/v2/{project_id}/editing/job?job_id={job_id}", Form::Query),
    cancel("/v1/{project_id}/editing/jobs?job_id={job_id}", Form::V1),
    view("/v1/{project_id}/editing/jobs", Version::V1),
    view("/v2/{project_id}/editing/jobs", Version::V2),
    create("/v1/{project_id}/editing/jobs", Version::V1),
    create("/v2/{project_id}/editing/jobs", Version::V2),
];

impl Operation {
    /// Returns the row of the same action in another URL form. `None` if there is none.
    pub fn in_form(&self, form: Form) -> Option<&'static Self> {
        CATALOGUE.iter().find(|row| row.action == self.action && row.form == Some(form))
    }

    /// Returns the row that views jobs in this API version.
    pub fn view(version: Version) -> Option<&'static Self> {
        CATALOGUE.iter().find(|row| row.action == VIEW && row.version == version)
    }
}

const fn cancel(template: &'static str, form: Form) -> Operation {
    Operation {
        method: "DELETE",
        template,
        action: DELETE,
        version: if matches!(form, Form::V1) { Version::V1 } else { Version::V2 },
        form: Some(form),
        jobs: if matches!(form, Form::Path) { JobIds::Path } else { JobIds::Query },
        has_body: false,
        access: Access::Write,
        // The request names the job.
        idempotent: true,
        largest_answer: SMALL_ANSWER,
    }
}

const fn view(template: &'static str, version: Version) -> Operation {
    Operation {
        method: "GET",
        template,
        action: VIEW,
        version,
        form: None,
        jobs: if matches!(version, Version::V1) { JobIds::QueriesOrList } else { JobIds::Queries },
        has_body: false,
        access: Access::Read,
        idempotent: true,
        largest_answer: LARGEST_ANSWER,
    }
}

const fn create(template: &'static str, version: Version) -> Operation {
    Operation {
        method: "POST",
        template,
        action: CREATE,
        version,
        form: None,
        jobs: JobIds::Answer,
        has_body: true,
        access: Access::Write,
        // Huawei's models have no client token, so repeating it would create two jobs.
        idempotent: false,
        largest_answer: SMALL_ANSWER,
    }
}

/// The maximum answer of any operation, enough for a hundred jobs of 13 KB and more.
pub const LARGEST_ANSWER: usize = 2 * 1024 * 1024;
/// The maximum answer that is an error or one id.
const SMALL_ANSWER: usize = 64 * 1024;
