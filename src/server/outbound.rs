//! Outbound connections: the routes to endpoints, the credential sources, and the projects with their upstreams.

use std::{collections::HashMap, sync::Arc};

use crate::{
    clock::Clocks,
    config::{Settings, UpstreamSettings},
    credential::{CachedCredential, ProviderContext, Refresher},
    stage::Project,
    upstream::{
        Breaker, Budget, DialerError, EXEMPTIONS, Egress, Endpoint, Proxies, Roots, RootsError, Timeouts,
        Upstream, variable,
    },
};

/// Returns the egress of the settings and of the environment.
pub(super) fn egress(settings: &UpstreamSettings) -> Result<Egress, RootsError> {
    let roots = Roots::new(settings.ca_file.as_deref())?;
    let proxies = Proxies::new(settings.proxy.as_ref(), variable);
    for entry in proxies.odd_exemptions() {
        tracing::warn!(entry, "a NO_PROXY entry has no effect: {EXEMPTIONS}");
    }
    Ok(Egress { roots, proxies })
}

pub(super) fn refreshers(
    settings: &Settings,
    egress: &Egress,
    clocks: &Clocks,
) -> Result<Vec<Refresher>, DialerError> {
    let provider_context = ProviderContext::new(egress, settings.upstream.connect_timeout, clocks);
    Refresher::all(settings.credentials.iter().map(|c| (&c.name, &c.source)), provider_context)
}

/// Returns each configured project with its credential and upstream. Projects with the same endpoint share connections.
#[expect(clippy::type_complexity, reason = "two lists, which the caller names")]
pub(super) fn projects(
    settings: &Settings,
    egress: &Egress,
    credentials: &[Arc<CachedCredential>],
    clocks: &Clocks,
) -> Result<(Vec<Arc<Project>>, Vec<Arc<Upstream>>), DialerError> {
    let UpstreamSettings { connect_timeout, attempt_timeout, retries, breaker, .. } = &settings.upstream;
    let timeouts = Timeouts { connect: *connect_timeout, attempt: *attempt_timeout };
    let mut upstreams: HashMap<&Endpoint, Arc<Upstream>> = HashMap::new();
    let mut projects = Vec::new();
    for project in &settings.projects {
        if !upstreams.contains_key(&project.endpoint) {
            let upstream = Upstream::new(&project.endpoint, egress, timeouts)?;
            let upstream = upstream
                .guarded(Breaker::new(breaker.failures, breaker.open_for), Budget::new(retries.budget));
            let upstream = upstream.timed(clocks.of(&project.endpoint.to_string()));
            upstreams.insert(&project.endpoint, Arc::new(upstream));
        }
        let cached = credentials.iter().find(|cached| *cached.name() == project.credential);
        let (Some(upstream), Some(cached)) = (upstreams.get(&project.endpoint), cached) else { continue };
        projects.extend(
            Project::new(Arc::clone(project), Arc::clone(cached), Arc::clone(upstream)).map(Arc::new),
        );
    }
    Ok((projects, upstreams.into_values().collect()))
}
