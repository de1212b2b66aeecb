//! Project checks of `doctor`: whether calls would be made.

use std::sync::Arc;

use super::{credentials::ProbedSource, endpoints::ProbedEndpoint, finding::Finding};
use crate::{
    clock::Clocks,
    config::{Project, Settings},
    upstream::{DialerError, Egress, Timeouts, Upstream},
};

/// The credentials and routes that calls use.
#[derive(Clone, Copy)]
pub(super) struct CallPath<'w> {
    pub(super) settings: &'w Settings,
    pub(super) egress: &'w Egress,
    pub(super) clocks: &'w Clocks,
    pub(super) probed: &'w [ProbedSource],
}

impl<'w> CallPath<'w> {
    /// Returns the credential of the project, if it is usable.
    pub(super) fn credential(&self, project: &Project) -> Option<&'w ProbedSource> {
        self.probed.iter().find(|probed| probed.name() == &*project.credential && probed.is_ready())
    }

    /// Returns the upstream of the project.
    pub(super) fn upstream(&self, project: &Project) -> Result<Upstream, DialerError> {
        let upstream = &self.settings.upstream;
        let timeouts = Timeouts { connect: upstream.connect_timeout, attempt: upstream.attempt_timeout };
        let clock = self.clocks.of(&project.endpoint.to_string());
        Ok(Upstream::new(&project.endpoint, self.egress, timeouts)?.timed(clock))
    }
}

/// Returns a finding for each project.
pub(super) fn look(path: CallPath<'_>, reached: &[ProbedEndpoint]) -> Vec<Finding> {
    let finding = |project: &Arc<Project>| {
        let Project { name, id, endpoint, credential, .. } = &**project;
        let entrusted = path.credential(project).is_some();
        let answered = reached.iter().any(|reached| reached.endpoint == *endpoint && reached.is_reached());
        let (message, hint) = match (entrusted, answered) {
            (true, true) => ("its calls would be signed and sent", None),
            (false, true) => ("its calls are refused: no credential", Some("see its credential above")),
            (true, false) => ("its calls fail: the endpoint does not answer", Some("see its endpoint above")),
            (false, false) => ("its calls are refused: no credential, no endpoint", Some("see both above")),
        };
        let message = format!("{message} (credential {credential}, {endpoint})");
        let finding = Finding::ok("project", &**name, message)
            .fact("id", &**id)
            .fact("endpoint", endpoint.to_string())
            .fact("credential", &**credential)
            .fact("ready", entrusted && answered);
        hint.into_iter().fold(finding, Finding::fail)
    };
    path.settings.projects.iter().map(finding).collect()
}
