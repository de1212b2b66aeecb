//! Routes requests to operations: [`Identified`] → [`Routed`].
//!
//! It finds what `authorize` decides on: an operation of the catalogue, a configured project, and a job or the body of a
//! create. This is the last stage that sees the caller's text.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;
use http::HeaderMap;

use super::{
    BufferedBody, Identified, Refusal, Stage, authenticate::DecisionContext, exchange::Exchange, headers,
    recorded::recorded_values,
};
use crate::{
    audit::{Record, RecordedFacts, bounded, bounded_bytes},
    config,
    credential::CachedCredential,
    editing::Body,
    identity::CallerId,
    limit::ByteReservation,
    operation::{Jobs, Target},
    policy::{Fact, Facts, Key, Keys},
    reason::Reason,
    upstream::Upstream,
};

/// A configured project, with everything needed to call it.
pub struct Project {
    pub(super) settings: Arc<config::Project>,
    pub(super) credential: Arc<CachedCredential>,
    pub(super) upstream: Arc<Upstream>,
    /// The headers that all its requests share.
    pub(super) headers: HeaderMap,
}

/// A request for an operation on a job of a configured project, or for a new job.
pub struct Routed<'r> {
    pub(super) target: Target,
    pub(super) job_spec: Option<Box<JobSpec>>,
    pub(super) project: Arc<Project>,
    pub(super) decision_context: DecisionContext,
    pub(super) exchange: Exchange<'r>,
    /// Private, so that only this stage can make one.
    _made_here: (),
}

/// The job that a body specifies: judged and rewritten. Only this stage makes one, and nothing else of a body goes further.
pub(super) struct JobSpec {
    body: Body,
    /// The memory that it holds.
    _room: Option<ByteReservation>,
}

/// Finds operations and projects.
#[derive(Clone)]
pub struct Route {
    /// The projects by name and by id.
    projects: Arc<HashMap<Box<str>, Arc<Project>>>,
    recorded: RecordedFacts,
}

impl Project {
    /// Creates a project that is called at `upstream` with `credential`. `None` if its names cannot be header values, which
    /// the configuration rejects.
    pub fn new(
        settings: Arc<config::Project>,
        credential: Arc<CachedCredential>,
        upstream: Arc<Upstream>,
    ) -> Option<Self> {
        let headers = headers::common(&settings)?;
        Some(Self { settings, credential, upstream, headers })
    }

    /// Returns the same project with another upstream pool.
    pub fn by_way_of(&self, upstream: Arc<Upstream>) -> Self {
        Self {
            settings: Arc::clone(&self.settings),
            credential: Arc::clone(&self.credential),
            upstream,
            headers: self.headers.clone(),
        }
    }

    /// Returns its configured name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Returns its id at the cloud.
    pub fn id(&self) -> &str {
        &self.settings.id
    }

    /// Returns its upstream.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Returns its credential.
    pub fn credential(&self) -> &Arc<CachedCredential> {
        &self.credential
    }
}

impl Route {
    /// Finds these projects by name and by id, and records the facts of new jobs as configured.
    pub fn new(projects: &[Arc<Project>], recorded: RecordedFacts) -> Self {
        let by_name = projects.iter().map(|p| (Box::from(&*p.settings.name), Arc::clone(p)));
        let by_id = projects.iter().map(|p| (Box::from(&*p.settings.id), Arc::clone(p)));
        Self { projects: Arc::new(by_name.chain(by_id).collect()), recorded }
    }

    /// Finds the operation and project of a method and target, and records them.
    pub(super) fn find(
        &self,
        method: &str,
        target: &str,
        record: &mut Record,
    ) -> Result<(Target, Arc<Project>), Refusal> {
        let found = self.find_both(method, target, record);
        found.inspect_err(|_| record.path = Some(path(target)))
    }

    /// Finds the operation and project without a record.
    pub(super) fn look(&self, method: &str, target: &str) -> Result<(Target, Arc<Project>), Refusal> {
        let target = Target::parse(method, target)?;
        let project = self.projects.get(target.project().as_str()).ok_or(Refusal::UnknownProject)?;
        Ok((target, Arc::clone(project)))
    }

    fn find_both(
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

impl JobSpec {
    /// Parses a body strictly. If the project sets `stamp_owner`, `user_data` is prefixed with the caller's name.
    fn read(
        brought: BufferedBody,
        target: &Target,
        project: &Project,
        caller: &CallerId,
    ) -> Result<Box<Self>, Refusal> {
        let BufferedBody { bytes, mut room } = brought;
        let stamp = Some(caller.as_str()).filter(|_| project.settings.stamp_owner);
        let body = Body::inspect(&bytes, target.operation().version, stamp)?;
        // The original is no longer needed.
        drop(bytes);
        if room.as_mut().is_some_and(|room| !room.fit(body.bytes().len())) {
            return Err(Refusal::Overloaded);
        }
        Ok(Box::new(Self { body, _room: room }))
    }

    /// Returns the bytes to send.
    pub(super) fn bytes(&self) -> &Bytes {
        self.body.bytes()
    }

    /// Returns the facts that the policy evaluates.
    pub(super) fn facts(&self) -> &Facts {
        self.body.facts()
    }
}

/// Records the facts of a new job.
fn record_facts(facts: &Facts, recorded: RecordedFacts, record: &mut Record) {
    if let (RecordedFacts::Values, Fact::Known(word)) = (recorded, facts.user_data()) {
        record.user_data = Some(bounded_bytes(word).to_owned());
    }
    let keys = [Key::UserData, Key::EditType, Key::Input, Key::Output];
    let keys = keys.into_iter().fold(Keys::NONE, |keys, key| keys.and(key.into()));
    record.facts = recorded_values(facts, keys, recorded);
}

/// Returns the path of a target for the record. The query is left out, because it may hold anything.
fn path(target: &str) -> String {
    bounded(target.split_once('?').map_or(target, |(path, _)| path))
}

impl<'r> Stage<Identified<'r>> for Route {
    type After = Routed<'r>;

    fn check(&self, request: Identified<'r>) -> Result<Routed<'r>, Refusal> {
        let Identified { method, target, body, decision_context, exchange, .. } = request;
        let (target, project) = self.find(method.as_str(), &target, exchange.record)?;
        let job_spec = match (body, target.operation().has_body) {
            (Some(brought), true) => {
                Some(JobSpec::read(*brought, &target, &project, decision_context.identity.caller())?)
            }
            (None, false) => None,
            (None, true) => return Err(Refusal::LengthRequired),
            (Some(_), false) => return Err(Refusal::BadRequest(Reason::BodyNotAllowed)),
        };
        if let Some(job_spec) = &job_spec {
            record_facts(job_spec.facts(), self.recorded, exchange.record);
        }
        Ok(Routed { target, job_spec, project, decision_context, exchange, _made_here: () })
    }
}
