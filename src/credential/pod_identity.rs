//! Access key of a pod from CCE's pod identity agent, whose address and token the platform puts into the environment.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use http::{HeaderMap, Uri, header::AUTHORIZATION};
use serde_json::json;

use super::{
    Provide, ProvideError, ProvideFuture, Provided, ProviderContext, environment::variable,
    exchange::Exchange, read,
};
use crate::upstream::Endpoint;

/// The provider of the key of the agency that is associated with this pod's service account.
pub(super) struct PodIdentity(pub(super) ProviderContext);

impl PodIdentity {
    async fn key(&self) -> Result<Provided, ProvideError> {
        let ((endpoint, target), token_file) = announced()?;
        let exchange = Exchange::new(&endpoint, &self.0, TIMEOUT)?;
        // Read every time, because the platform replaces it before it expires.
        let file = token_file.clone();
        let token =
            read::off_thread(move || read::token(&file)).await?.header().ok_or(ProvideError::File {
                path: token_file,
                problem: "has no token that is valid in a header".into(),
            })?;
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, token);
        let answer = exchange.post(&target, headers, json!({})).await?;
        exchange.key(answer)
    }
}

/// Checks the platform's environment variables, if set.
pub(super) fn examine() -> Result<(), ProvideError> {
    read::token(&announced()?.1).map(drop)
}

/// Returns the agent in the environment, and the file of its token.
fn announced() -> Result<((Endpoint, String), PathBuf), ProvideError> {
    let (uri, token_file) = (variable(URI)?, variable(TOKEN_FILE)?);
    let agent = agent(&uri).map_err(|problem| ProvideError::Variable(URI, problem))?;
    Ok((agent, token_file.into()))
}

impl Provide for PodIdentity {
    fn provide(&mut self) -> ProvideFuture<'_> {
        Box::pin(self.key())
    }

    fn files(&self) -> Vec<PathBuf> {
        variable(TOKEN_FILE).map(PathBuf::from).into_iter().collect()
    }
}

/// Splits the URI into the agent's endpoint and the path.
fn agent(uri: &str) -> Result<(Endpoint, String), &'static str> {
    const NO_URL: &str = "is not a URL with host and path";
    let uri = Uri::try_from(uri).map_err(|_| NO_URL)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(NO_URL) };
    let endpoint = Endpoint::parse(&format!("{scheme}://{authority}")).map_err(|_| NO_URL)?;
    // The pod's token is sent there.
    if !endpoint.tls() && !endpoint.is_loopback() && !is_near(endpoint.host()) {
        return Err("must start with https://, or use a loopback, link-local or private address");
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Ok((endpoint, target.to_owned()))
}

/// Whether it is an address of this node or its network.
fn is_near(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => ip.is_link_local() || ip.is_private(),
        Ok(IpAddr::V6(ip)) => ip.is_unicast_link_local() || ip.is_unique_local(),
        Err(_) => false,
    }
}

pub(super) const URI: &str = "HC_CONTAINER_CREDENTIALS_FULL_URI";
pub(super) const TOKEN_FILE: &str = "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE";
/// The time-out of the official SDKs.
const TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_near_or_proves_itself() {
        for (uri, expected) in [
            ("http://169.254.170.23/v1/credentials", Some(("169.254.170.23", "/v1/credentials"))),
            ("http://127.0.0.1:8080/c?x=1", Some(("127.0.0.1:8080", "/c?x=1"))),
            ("http://[fd00::23]/c", Some(("[fd00::23]", "/c"))),
            ("http://10.0.0.1/c", Some(("10.0.0.1", "/c"))),
            ("https://agent.example", Some(("agent.example", "/"))),
            ("http://agent.example/c", None),
            ("http://8.8.8.8/c", None),
            ("/v1/credentials", None),
            ("ftp://127.0.0.1/c", None),
            ("http://user@127.0.0.1/c", None),
            ("", None),
        ] {
            let found = agent(uri).ok();
            let found = found.as_ref().map(|(endpoint, target)| (endpoint.authority(), target.as_str()));
            assert_eq!(found, expected, "{uri}");
        }
    }
}
