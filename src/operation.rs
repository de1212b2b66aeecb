//! Which operation is this? The catalogue, and the strict grammar of a request target.
//!
//! It stands before policy and signing because both work on what it returns: the target is parsed once,
//! here, from raw text, and no later stage looks at the caller's bytes again. It decodes nothing and
//! normalises nothing, so there is one reading of a target and no second one to disagree with it.
//! It does not know which projects exist.

use std::fmt;

use crate::reason::Reason;

/// One row of the catalogue: a method and a URL, and the IAM action they need.
#[derive(Debug, PartialEq, Eq)]
pub struct Operation {
    /// The only method this URL is accepted with.
    pub method: &'static str,
    /// The URL, with `{project_id}` and `{job_id}` standing for what varies. Also the audit record's `http.route`.
    pub template: &'static str,
    /// The IAM action a policy names, as in Huawei's own policies.
    pub action: &'static str,
    /// Which of the equivalent URLs of its action this is.
    pub form: Form,
}

/// The three URLs Huawei accepts for the same operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/v2/{project_id}/editing/jobs/{job_id}`: the API reference, section "URI".
    Path,
    /// `/v2/{project_id}/editing/job?job_id=…`: the API reference, section "Example requests".
    Query,
    /// `/v1/{project_id}/editing/jobs?job_id=…`: what every official SDK sends.
    V1,
}

/// Asks for a new editing job.
pub const CREATE: &str = "mpc:editingTask:create";
/// Cancels an editing job.
pub const DELETE: &str = "mpc:editingTask:delete";
/// Looks at editing jobs.
pub const VIEW: &str = "mpc:editingTask:view";
/// Every IAM action that a policy can name; the first is meant where none is named.
pub const ACTIONS: [&str; 3] = [DELETE, CREATE, VIEW];

/// What the proxy can do. Adding an operation is adding a row.
pub const CATALOGUE: &[Operation] = &[
    Operation {
        method: "DELETE",
        template: "/v2/{project_id}/editing/jobs/{job_id}",
        action: DELETE,
        form: Form::Path,
    },
    Operation {
        method: "DELETE",
        template: "/v2/{project_id}/editing/job?job_id={job_id}",
        action: DELETE,
        form: Form::Query,
    },
    Operation {
        method: "DELETE",
        template: "/v1/{project_id}/editing/jobs?job_id={job_id}",
        action: DELETE,
        form: Form::V1,
    },
];

/// A target that the catalogue knows, in parts that obey the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    operation: &'static Operation,
    project: Segment,
    job: Segment,
}

/// A project name or id, or a job id: 1 to 64 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segment(Box<str>);

/// Why a method and target are not an operation of the catalogue.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The target is longer than any operation's can be.
    #[error("the request target is longer than {MAX_TARGET} bytes")]
    TooLong,
    /// No operation has this path.
    #[error("no operation has this path")]
    NotFound,
    /// The path is an operation's, the method is not. Holds the method that is.
    #[error("this path answers to {0} only")]
    Method(&'static str),
    /// The path is an operation's, but a part of the target breaks the grammar.
    #[error("{0}")]
    Malformed(Reason),
}

impl Target {
    /// Parses a method and the raw text of a request target, as they stood on the request line.
    ///
    /// # Errors
    /// Whatever is not exactly one of the catalogue's URLs is refused; see [`TargetError`].
    pub fn parse(method: &str, target: &str) -> Result<Self, TargetError> {
        if target.len() > MAX_TARGET {
            return Err(TargetError::TooLong);
        }
        if !target.starts_with('/') {
            return Err(TargetError::Malformed(Reason::TargetForm));
        }
        let (path, query) = apart(target);
        let mut closest = TargetError::NotFound;
        for operation in CATALOGUE {
            let Some((project, job)) = split(operation.template, path) else { continue };
            if method != operation.method {
                closest = TargetError::Method(operation.method);
                continue;
            }
            return Self::with_parts(operation, project, job, query);
        }
        Err(closest)
    }

    fn with_parts(
        operation: &'static Operation,
        project: &str,
        job_in_path: Option<&str>,
        query: Option<&str>,
    ) -> Result<Self, TargetError> {
        let project = Segment::parse(project).ok_or(TargetError::Malformed(Reason::BadProject))?;
        let job = match (job_in_path, query) {
            (Some(job), None) => job,
            (Some(_), Some(_)) => {
                return Err(TargetError::Malformed(Reason::QueryNotAllowed));
            }
            (None, query) => query
                .and_then(|q| q.strip_prefix("job_id="))
                .ok_or(TargetError::Malformed(Reason::BadQuery))?,
        };
        let job = Segment::parse(job).ok_or(TargetError::Malformed(Reason::BadJob))?;
        Ok(Self { operation, project, job })
    }

    /// The row of the catalogue.
    pub fn operation(&self) -> &'static Operation {
        self.operation
    }

    /// The project as the caller wrote it: a configured name, or an id.
    pub fn project(&self) -> &Segment {
        &self.project
    }

    /// The job id.
    pub fn job(&self) -> &Segment {
        &self.job
    }
}

impl Operation {
    /// The row for the same action in another form. `None` where the action has no such URL.
    pub fn in_form(&self, form: Form) -> Option<&'static Self> {
        CATALOGUE.iter().find(|row| row.action == self.action && row.form == form)
    }

    /// The raw path and query to send upstream: the template with its blanks filled in.
    pub fn render(&self, project_id: &str, job: &Segment) -> String {
        let mut out = String::with_capacity(self.template.len() + project_id.len() + job.as_str().len());
        let mut rest = self.template;
        while let Some((before, blank, after)) = next_blank(rest) {
            out.push_str(before);
            out.push_str(if blank == PROJECT { project_id } else { job.as_str() });
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

impl Segment {
    /// The segment, where the text obeys the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        ((1..=64).contains(&text.len()) && text.bytes().all(allowed)).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The project and, where the template has it in its path, the job. `None` where the path has another shape.
/// The parts are cut out, not checked: a path of the right shape with a bad part deserves a better error.
fn split<'p>(template: &str, path: &'p str) -> Option<(&'p str, Option<&'p str>)> {
    let (mut project, mut job) = (None, None);
    let (mut template, mut rest) = (apart(template).0, path);
    while let Some((before, blank, after)) = next_blank(template) {
        let from = rest.strip_prefix(before)?;
        let end = from.find('/').unwrap_or(from.len());
        let part = if blank == PROJECT { &mut project } else { &mut job };
        (*part, rest) = from.split_at_checked(end).map(|(part, rest)| (Some(part), rest))?;
        template = after;
    }
    (rest == template).then_some((project?, job))
}

/// The path, and the query where there is one.
fn apart(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// The template up to its first blank, the blank, and what follows it.
fn next_blank(template: &str) -> Option<(&str, &str, &str)> {
    let (start, end) = (template.find('{')?, template.find('}')?);
    Some((template.get(..start)?, template.get(start..=end)?, template.get(end + 1..)?))
}

/// No URL of the catalogue is longer: two segments of 64 bytes and 32 bytes of text.
const MAX_TARGET: usize = 256;
const PROJECT: &str = "{project_id}";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(target: &str) -> Result<(Form, String, String), TargetError> {
        Target::parse("DELETE", target)
            .map(|t| (t.operation().form, t.project().to_string(), t.job().to_string()))
    }

    #[test]
    fn the_three_cancel_urls_are_one_action() {
        for (target, form) in [
            ("/v2/media-prod/editing/jobs/100211", Form::Path),
            ("/v2/media-prod/editing/job?job_id=100211", Form::Query),
            ("/v1/media-prod/editing/jobs?job_id=100211", Form::V1),
        ] {
            assert_eq!(parsed(target), Ok((form, "media-prod".into(), "100211".into())), "{target}");
        }
        assert!(CATALOGUE.iter().all(|row| row.action == "mpc:editingTask:delete"));
    }

    #[test]
    fn rendering_a_parsed_target_gives_the_same_text() {
        for target in ["/v2/p/editing/jobs/j", "/v2/p/editing/job?job_id=j", "/v1/p/editing/jobs?job_id=j"] {
            let t = Target::parse("DELETE", target).unwrap();
            assert_eq!(t.operation().render(t.project().as_str(), t.job()), target);
        }
    }

    #[test]
    fn a_target_can_be_rendered_in_another_form() {
        let t = Target::parse("DELETE", "/v2/p/editing/jobs/j").unwrap();
        let v1 = t.operation().in_form(Form::V1).unwrap();
        assert_eq!(v1.render("id", t.job()), "/v1/id/editing/jobs?job_id=j");
    }

    #[test]
    fn whatever_is_not_exactly_an_operation_is_refused() {
        use TargetError::{Malformed, Method, NotFound, TooLong};
        for (method, target, expected) in [
            ("DELETE", "/", NotFound),
            ("DELETE", "//v2/p/editing/jobs/j", NotFound),
            ("DELETE", "/v2/p/editing/jobs/j/", NotFound),
            ("DELETE", "/v2/p/../editing/jobs/j", NotFound),
            ("DELETE", "/v3/p/editing/jobs/j", NotFound),
            ("DELETE", "/v2/p/Editing/jobs/j", NotFound),
            ("DELETE", "/v2/p/editing/jobs", NotFound),
            ("GET", "/v2/p/editing/jobs/j", Method("DELETE")),
            ("delete", "/v2/p/editing/jobs/j", Method("DELETE")),
            ("DELETE", "http://h/v2/p/editing/jobs/j", Malformed(Reason::TargetForm)),
            ("DELETE", "*", Malformed(Reason::TargetForm)),
            ("DELETE", "", Malformed(Reason::TargetForm)),
            ("DELETE", "/v2//editing/jobs/j", Malformed(Reason::BadProject)),
            ("DELETE", "/v2/p%20/editing/jobs/j", Malformed(Reason::BadProject)),
            ("DELETE", "/v2/p/editing/jobs/", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/jobs/..", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/jobs/a%2Fb", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/jobs/j;x=1", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/jobs/j#f", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/jobs/é", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/job", Malformed(Reason::BadQuery)),
            ("DELETE", "/v2/p/editing/job?", Malformed(Reason::BadQuery)),
            ("DELETE", "/v2/p/editing/job?Job_id=j", Malformed(Reason::BadQuery)),
            ("DELETE", "/v2/p/editing/job?x=1&job_id=j", Malformed(Reason::BadQuery)),
            ("DELETE", "/v2/p/editing/job?job_id=j&job_id=k", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/job?job_id=j&x=1", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/job?job_id=", Malformed(Reason::BadJob)),
            ("DELETE", "/v2/p/editing/job?job_id=j?", Malformed(Reason::BadJob)),
        ] {
            assert_eq!(Target::parse(method, target), Err(expected), "{method} {target}");
        }
        let query_on_path = parsed("/v2/p/editing/jobs/j?job_id=k");
        assert!(matches!(query_on_path, Err(Malformed(Reason::QueryNotAllowed))));
        assert_eq!(parsed(&format!("/v2/p/editing/jobs/{}", "j".repeat(300))), Err(TooLong));
        assert_eq!(parsed(&format!("/v2/p/editing/jobs/{}", "j".repeat(65))), Err(Malformed(Reason::BadJob)));
        assert!(parsed(&format!("/v2/p/editing/jobs/{}", "j".repeat(64))).is_ok());
    }
}
