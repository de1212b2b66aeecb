//! Parses request targets by the rows of the catalogue, and renders them in the one form that is signed and sent.

use memchr::memchr;

use super::{CATALOGUE, JobIds, List, Operation, Segment};
use crate::reason::Reason;

/// A target of the catalogue, parsed into valid parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    operation: &'static Operation,
    project: Segment,
    jobs: Jobs,
}

/// The jobs of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// One job.
    One(Segment),
    /// Two to ten different jobs, sorted, as a repeated parameter is signed and sent.
    Several(Box<[Segment]>),
    /// The jobs of the project that pass the filters.
    List(List),
    /// A job to be created.
    ToBeMade,
}

/// Why a method and target are not an operation of the catalogue.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The target is longer than any of its operation, or of all.
    #[error("the request target is too long for its operation")]
    TooLong,
    /// No operation has this path.
    #[error("unsupported path")]
    NotFound,
    /// The path does not support this method. Holds the supported ones, as `Allow` lists them.
    #[error("method not allowed: use {0}")]
    Method(&'static str),
    /// The path is supported, but a part of the target is invalid.
    #[error("{0}")]
    Malformed(Reason),
}

impl Target {
    /// Parses the method and raw target of a request line.
    ///
    /// # Errors
    /// If it is not exactly one of the catalogue's URLs; see [`TargetError`].
    pub fn parse(method: &str, target: &str) -> Result<Self, TargetError> {
        if CATALOGUE.iter().all(|row| target.len() > row.longest_target()) {
            return Err(TargetError::TooLong);
        }
        if !target.starts_with('/') {
            return Err(TargetError::Malformed(Reason::TargetForm));
        }
        let (path, query) = apart(target);
        let mut others = Methods::default();
        for operation in CATALOGUE {
            let Some((project, job)) = split(operation.template, path) else { continue };
            if method != operation.method {
                others.add(operation.method);
                continue;
            }
            if target.len() > operation.longest_target() {
                return Err(TargetError::TooLong);
            }
            let project = Segment::parse(project).ok_or(TargetError::Malformed(Reason::BadProject))?;
            let jobs = Jobs::parse(operation.jobs, job, query).map_err(TargetError::Malformed)?;
            return Ok(Self { operation, project, jobs });
        }
        // A path that is too long for every operation is not a method mistake.
        match others.listed() {
            None if target.len() > MAX_TARGET => Err(TargetError::TooLong),
            None => Err(TargetError::NotFound),
            Some(methods) => Err(TargetError::Method(methods)),
        }
    }

    /// Returns the view of this target's jobs in another API version. `None` if it has no ids.
    pub fn viewed_by(&self, view: &'static Operation) -> Option<Self> {
        let named = matches!(self.jobs, Jobs::One(_) | Jobs::Several(_));
        let takes = matches!(view.jobs, JobIds::Queries | JobIds::QueriesOrList);
        (named && takes).then(|| Self {
            operation: view,
            project: self.project.clone(),
            jobs: self.jobs.clone(),
        })
    }

    /// Returns the row of the catalogue.
    pub fn operation(&self) -> &'static Operation {
        self.operation
    }

    /// Returns the project as written by the caller: a configured name or an id.
    pub fn project(&self) -> &Segment {
        &self.project
    }

    /// Returns its jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Returns the job id, if there is exactly one.
    pub fn job(&self) -> Option<&Segment> {
        if let Jobs::One(job) = &self.jobs { Some(job) } else { None }
    }
}

impl Jobs {
    fn parse(place: JobIds, in_path: Option<&str>, query: Option<&str>) -> Result<Self, Reason> {
        match (place, query) {
            (JobIds::Path, None) => one(in_path.unwrap_or_default()),
            (JobIds::Path, Some(_)) => Err(Reason::QueryNotAllowed),
            (JobIds::Query, query) => {
                one(query.and_then(|q| q.strip_prefix(JOB_ID)).ok_or(Reason::BadQuery)?)
            }
            (JobIds::QueriesOrList, None) => Ok(Self::List(List::default())),
            (JobIds::QueriesOrList, Some(query)) if !query.starts_with(JOB_ID) => {
                List::parse(query).map(Self::List)
            }
            (JobIds::Queries | JobIds::QueriesOrList, query) => several(query.unwrap_or_default()),
            (JobIds::Answer, None) => Ok(Self::ToBeMade),
            (JobIds::Answer, Some(_)) => Err(Reason::QueryOnCreate),
        }
    }

    /// Returns all job ids.
    pub fn ids(&self) -> &[Segment] {
        match self {
            Self::One(job) => std::slice::from_ref(job),
            Self::Several(jobs) => jobs,
            Self::List(_) | Self::ToBeMade => &[],
        }
    }
}

impl Operation {
    /// Renders the raw path and query to send: the template with its placeholders filled in, and the query.
    pub fn render(&self, project_id: &str, jobs: &Jobs) -> String {
        let ids = jobs.ids();
        let size = ids.iter().map(|id| JOB_ID.len() + 1 + id.as_str().len()).sum::<usize>();
        let mut out = String::with_capacity(self.template.len() + project_id.len() + size);
        let mut rest = self.template;
        while let Some((before, blank, after)) = next_blank(rest) {
            out.push_str(before);
            let job = || ids.first().map_or("", Segment::as_str);
            out.push_str(if blank == PROJECT { project_id } else { job() });
            rest = after;
        }
        out.push_str(rest);
        if let Jobs::List(list) = jobs {
            list.render(&mut out);
        } else if matches!(self.jobs, JobIds::Queries | JobIds::QueriesOrList) {
            for (at, id) in ids.iter().enumerate() {
                for part in [if at == 0 { "?" } else { "&" }, JOB_ID, id.as_str()] {
                    out.push_str(part);
                }
            }
        }
        out
    }

    /// Returns the maximum length of the row's URLs.
    fn longest_target(&self) -> usize {
        match self.jobs {
            JobIds::Path | JobIds::Query | JobIds::Answer => MAX_TARGET,
            JobIds::Queries | JobIds::QueriesOrList => MAX_TARGET_OF_MANY,
        }
    }
}

/// The methods that a path supports.
#[derive(Default)]
struct Methods {
    get: bool,
    post: bool,
    delete: bool,
}

impl Methods {
    fn add(&mut self, method: &str) {
        match method {
            "GET" => self.get = true,
            "POST" => self.post = true,
            _ => self.delete = true,
        }
    }

    /// Returns them as in `Allow`. `None` if there are none.
    fn listed(&self) -> Option<&'static str> {
        match (self.get, self.post, self.delete) {
            (false, false, false) => None,
            (true, false, false) => Some("GET"),
            (false, true, false) => Some("POST"),
            (false, false, true) => Some("DELETE"),
            (true, true, false) => Some("GET, POST"),
            (true, false, true) => Some("GET, DELETE"),
            (false, true, true) => Some("POST, DELETE"),
            (true, true, true) => Some("GET, POST, DELETE"),
        }
    }
}

fn one(job: &str) -> Result<Jobs, Reason> {
    Segment::parse(job).map(Jobs::One).ok_or(Reason::BadJob)
}

fn several(query: &str) -> Result<Jobs, Reason> {
    let mut ids = Vec::with_capacity(1);
    for pair in query.split('&') {
        let id = pair.strip_prefix(JOB_ID).ok_or(Reason::BadIds)?;
        ids.push(Segment::parse(id).ok_or(Reason::BadJob)?);
        if ids.len() > MAX_IDS {
            return Err(Reason::BadIds);
        }
    }
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(Reason::BadIds);
    }
    match <[Segment; 1]>::try_from(ids) {
        Ok([id]) => Ok(Jobs::One(id)),
        Err(ids) => Ok(Jobs::Several(ids.into())),
    }
}

/// Returns the project and, if it is in the path, the job. `None` if the path has another structure. The parts are not
/// checked here, so that a path with an invalid part gets a better error.
fn split<'p>(template: &str, path: &'p str) -> Option<(&'p str, Option<&'p str>)> {
    let (mut project, mut job) = (None, None);
    let (mut template, mut rest) = (apart(template).0, path);
    while let Some((before, blank, after)) = next_blank(template) {
        let from = rest.strip_prefix(before)?;
        let end = memchr(b'/', from.as_bytes()).unwrap_or(from.len());
        let part = if blank == PROJECT { &mut project } else { &mut job };
        (*part, rest) = from.split_at_checked(end).map(|(part, rest)| (Some(part), rest))?;
        template = after;
    }
    (rest == template).then_some((project?, job))
}

/// Splits a target into the path and the query, if any.
fn apart(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// Splits a template at its first placeholder.
fn next_blank(template: &str) -> Option<(&str, &str, &str)> {
    let (start, end) = (memchr(b'{', template.as_bytes())?, memchr(b'}', template.as_bytes())?);
    Some((template.get(..start)?, template.get(start..=end)?, template.get(end + 1..)?))
}

/// Two segments of 64 bytes and 32 bytes of text.
const MAX_TARGET: usize = 256;
/// Eleven segments, and as often `job_id=`.
const MAX_TARGET_OF_MANY: usize = 1024;
const MAX_IDS: usize = 10;
const PROJECT: &str = "{project_id}";
const JOB_ID: &str = "job_id=";
