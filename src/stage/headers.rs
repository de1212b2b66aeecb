//! The headers that all requests of a project share.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, HOST, USER_AGENT},
};

use crate::config::{self, ProjectHeader};

/// Returns the headers that all requests of a project share. `None` if its names cannot be header values.
pub(super) fn common(project: &config::Project) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(MAX_HEADERS);
    headers.insert(HOST, HeaderValue::from_str(project.endpoint.authority()).ok()?);
    headers.insert(USER_AGENT, PRODUCT);
    headers.insert(ACCEPT, JSON);
    let id = HeaderValue::from_str(&project.id).ok()?;
    if project.project_header != ProjectHeader::Underscore {
        headers.insert(PROJECT_ID, id.clone());
    }
    if project.project_header != ProjectHeader::Hyphen {
        headers.insert(PROJECT_UNDERSCORE_ID, id);
    }
    Some(headers)
}

/// The documentation's spelling is `X-Project_Id`, the SDKs' is `X-Project-Id`; only the latter is signed.
pub(super) const PROJECT_ID: HeaderName = HeaderName::from_static("x-project-id");

pub(super) const PROJECT_UNDERSCORE_ID: HeaderName = HeaderName::from_static("x-project_id");

/// The maximum number of headers: the project's, and those of a body, a trace, and a signature with a token.
pub(super) const MAX_HEADERS: usize = 11;

pub(super) const PRODUCT: HeaderValue =
    HeaderValue::from_static(concat!("mpc-auth-proxy/", env!("CARGO_PKG_VERSION")));

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
