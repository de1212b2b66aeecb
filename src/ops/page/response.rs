//! The HTTP response that carries the page, with its security headers.

use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use serde_json::Value;

use super::{
    contents::{Near, POLICY, StatusPage},
    form::Form,
};
use crate::{
    clock,
    ops::answer::{Body, text},
    server::ProxyStatus,
};

/// Returns the page, with the answer to a query of its form.
pub(in crate::ops) fn answer(
    proxy: &ProxyStatus,
    document: &Value,
    query: &str,
    near: bool,
) -> Response<Body> {
    let asked = Form::parse(query);
    let near = near.then(|| Near {
        callers: proxy.callers(),
        projects: proxy.scopes().iter().map(|project| project.name.to_string()).collect(),
        answer: asked.as_ref().map(|form| form.answer(proxy).map_err(|error| error.to_string())),
        asked: asked.unwrap_or_default(),
    });
    let page = StatusPage { status: document, checks: proxy.health().checks(), now: clock::now(), near };
    let mut response = text(StatusCode::OK, page.html().into_string());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.extend(HeaderValue::try_from(&*POLICY).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    response
}

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
