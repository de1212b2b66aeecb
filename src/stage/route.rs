//! What is meant? [`Identified`] → [`Routed`].
//!
//! It stands before `authorize`, which decides on what it finds: an operation of the catalogue, a configured
//! project and a job. This is the last stage that sees the caller's text.

use std::sync::Arc;

use foldhash::HashMap;
use http::HeaderMap;

use super::{Exchange, Identified, Refusal, Stage, authenticate::Decider, compose};
use crate::{
    audit::{Record, bounded},
    config,
    credential::Held,
    operation::{Jobs, Target},
    upstream::Upstream,
};

/// A configured project, with what it takes to call it.
pub struct Project {
    pub(super) settings: Arc<config::Project>,
    pub(super) credential: Arc<Held>,
    pub(super) upstream: Arc<Upstream>,
    /// Of each request for it: all that is the same.
    pub(super) headers: HeaderMap,
}

/// A request for an operation on a job of a configured project.
pub struct Routed<'r> {
    target: Target,
    project: Arc<Project>,
    decider: Decider,
    exchange: Exchange<'r>,
}

/// Finds operations and projects.
#[derive(Clone)]
pub struct Route {
    /// By name and by id.
    projects: Arc<HashMap<Box<str>, Arc<Project>>>,
}

impl Project {
    /// A project that is called at `upstream` with `credential`. `None` where its names cannot be header values,
    /// which the configuration does not let through.
    pub fn new(
        settings: Arc<config::Project>,
        credential: Arc<Held>,
        upstream: Arc<Upstream>,
    ) -> Option<Self> {
        let headers = compose::headers(&settings)?;
        Some(Self { settings, credential, upstream, headers })
    }

    /// The same project, called by these connections.
    pub fn by_way_of(&self, upstream: Arc<Upstream>) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            credential: Arc::clone(&self.credential),
            upstream,
            headers: self.headers.clone(),
        }
    }

    /// The upstream it is called at.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// The credential it is called with.
    pub fn credential(&self) -> &Arc<Held> {
        &self.credential
    }
}

impl Route {
    /// Finds these projects, by name and by id.
    pub fn new(projects: &[Arc<Project>]) -> Self {
        let by_name = projects.iter().map(|p| (Box::from(&*p.settings.name), Arc::clone(p)));
        let by_id = projects.iter().map(|p| (Box::from(&*p.settings.id), Arc::clone(p)));
        Self { projects: Arc::new(by_name.chain(by_id).collect()) }
    }

    /// What this method and target mean. The record gets what is known of it.
    fn find(
        &self,
        method: &str,
        target: &str,
        record: &mut Record,
    ) -> Result<(Target, Arc<Project>), Refusal> {
        let target = Target::parse(method, target)?;
        record.route = Some(target.operation().template);
        record.action = Some(target.operation().action);
        record.job_id = target.job().map(|job| job.as_str().to_owned());
        if let Jobs::Several(jobs) = target.jobs() {
            record.job_ids = jobs.iter().map(|job| job.as_str().to_owned()).collect();
        }
        let project = self.projects.get(target.project().as_str()).ok_or(Refusal::UnknownProject)?;
        record.project_id = Some(Arc::clone(&project.settings.id));
        Ok((target, Arc::clone(project)))
    }
}

impl<'r> Routed<'r> {
    pub(super) fn into_parts(self) -> (Target, Arc<Project>, Decider, Exchange<'r>) {
        (self.target, self.project, self.decider, self.exchange)
    }
}

/// The path of a target, for a record. A query is not a path, and may hold anything.
fn path(target: &str) -> String {
    bounded(target.split_once('?').map_or(target, |(path, _)| path))
}

impl<'r> Stage<Identified<'r>> for Route {
    type After = Routed<'r>;

    fn check(&self, request: Identified<'r>) -> Result<Routed<'r>, Refusal> {
        let (method, target, decider, exchange) = request.into_parts();
        let found = self.find(method.as_str(), &target, exchange.record);
        let (target, project) = found.inspect_err(|_| exchange.record.path = Some(path(&target)))?;
        Ok(Routed { target, project, decider, exchange })
    }
}
