//! Whether the calls of each project would be made.

use std::sync::Arc;

use super::{credentials::ProbedSource, endpoints::ProbedEndpoint, finding::Finding};
use crate::config::{Project, Settings};

/// A finding for each project.
pub(super) fn look(settings: &Settings, probed: &[ProbedSource], reached: &[ProbedEndpoint]) -> Vec<Finding> {
    let finding = |project: &Arc<Project>| {
        let Project { name, id, endpoint, credential, .. } = &**project;
        let entrusted = probed.iter().any(|probed| probed.name() == &**credential && probed.is_ready());
        let answered = reached.iter().any(|reached| reached.endpoint == *endpoint && reached.is_reached());
        let (message, hint) = match (entrusted, answered) {
            (true, true) => ("its calls would be signed and sent", None),
            (false, true) => ("its calls are refused: no credential", Some(SEE_CREDENTIAL)),
            (true, false) => ("its calls fail: the endpoint does not answer", Some(SEE_ENDPOINT)),
            (false, false) => ("its calls are refused: no credential, no endpoint", Some(SEE_BOTH)),
        };
        let finding =
            Finding::ok("project", &**name, format!("{message} (credential {credential}, {endpoint})"))
                .fact("id", &**id)
                .fact("endpoint", endpoint.to_string())
                .fact("credential", &**credential)
                .fact("ready", entrusted && answered);
        match hint {
            None => finding,
            Some(hint) => finding.fail(hint),
        }
    };
    settings.projects.iter().map(finding).collect()
}

const SEE_CREDENTIAL: &str = "see its credential above";
const SEE_ENDPOINT: &str = "see its endpoint above";
const SEE_BOTH: &str = "see both above";
