//! The catalogue: one row an operation, with everything that others need to know about it.
//!
//! It stands before the grammar of targets, which is read off the rows. A row decides what routing, composing,
//! retries and limits do; it holds no text of a caller's.

/// One row of the catalogue: a method and a URL, the IAM action they need, and how such a call is made.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// The method this URL is accepted with for this operation.
    pub method: &'static str,
    /// The URL, with `{project_id}` and `{job_id}` standing for what varies. Also the audit record's `http.route`.
    pub template: &'static str,
    /// The IAM action a policy names, as in Huawei's own policies.
    pub action: &'static str,
    /// The version of the API, which decides what bodies and answers look like.
    pub version: Version,
    /// Which of the equivalent URLs of its action this is, where a project may prefer another.
    pub form: Option<Form>,
    /// Where the ids of its jobs are.
    pub jobs: JobIds,
    /// Whether it has a body.
    pub has_body: bool,
    /// Whether it changes something.
    pub access: Access,
    /// Whether carrying it out twice is the same as once.
    pub idempotent: bool,
    /// The most bytes that the body of an answer may have.
    pub largest_answer: usize,
}

/// The versions of the editing API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// What every official SDK sends today. Its answers carry everything that was asked for when a job was created.
    V1,
    /// What the API reference describes. Its answers do not.
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

/// Where the ids of the jobs are that an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobIds {
    /// One, in the path.
    Path,
    /// One, in the query, and nothing else there.
    Query,
    /// One to ten different ones, in the query, and nothing else there.
    Queries,
    /// The same, or none: then what is listed is chosen by status, time and page.
    QueriesOrList,
    /// One, in the answer: the cloud makes it.
    Answer,
}

/// Whether an operation reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It changes nothing.
    Read,
    /// It changes something, and is not carried out while calls are frozen.
    Write,
}

/// Asks for a new editing job.
pub const CREATE: &str = "mpc:editingTask:create";
/// Cancels an editing job.
pub const DELETE: &str = "mpc:editingTask:delete";
/// Looks at editing jobs.
pub const VIEW: &str = "mpc:editingTask:view";
/// Every IAM action that a policy can name; the first is meant where none is named.
pub const ACTIONS: [&str; 3] = [DELETE, CREATE, VIEW];

/// What the proxy does: the whole life of an editing job. Adding an operation is adding a row.
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
    /// The row for the same action in another form. `None` where the action has no such URL.
    pub fn in_form(&self, form: Form) -> Option<&'static Self> {
        CATALOGUE.iter().find(|row| row.action == self.action && row.form == Some(form))
    }

    /// The row that views jobs in this version.
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
        // The job is named.
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
        // No model of Huawei's has a token of the client's: twice is two jobs.
        idempotent: false,
        largest_answer: SMALL_ANSWER,
    }
}

/// The most that the answer to any operation may have: a hundred jobs of 13 KB and more.
pub const LARGEST_ANSWER: usize = 2 * 1024 * 1024;
/// An error, or one id.
const SMALL_ANSWER: usize = 64 * 1024;
