//! Answers of the ops listeners: who may get them, and how they are written.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE, HOST},
    uri::Authority,
};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    config::Hosts,
    metrics::{Metrics, OutcomeRate},
    reason::Code,
    server::ProxyStatus,
};

pub(super) type Body = Full<Bytes>;

/// Whether every host that a request names is ours. Browsers always name one, so a request without a host passes.
pub(super) fn is_meant(headers: &HeaderMap, target: &Uri, hosts: &Hosts) -> bool {
    let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let target = target.authority().map(Authority::as_str);
    named.chain(target).all(|host| hosts.answer_to_addresses_and(host))
}

pub(super) fn wrong_host(status: &ProxyStatus) -> Response<Body> {
    let request_id = status.request_id();
    let body = json!({
            "error_code": Code::WrongHost.as_str(),
            "error_msg": "unknown host: use the IP address, or add the name to `ops.hosts`",
            "request_id": request_id,
    });
    let mut response = json(StatusCode::MISDIRECTED_REQUEST, &body);
    response.headers_mut().extend(HeaderValue::try_from(request_id).ok().map(|id| (REQUEST_ID, id)));
    response
}

/// Builds the `/status` document, with the requests by outcome.
pub(super) fn document(status: &ProxyStatus, metrics: &Metrics, near: bool) -> Value {
    let mut document = status.status(near);
    let rates = metrics.outcomes().into_iter().map(|OutcomeRate { outcome, total, per_minute }| {
        // One decimal: a count of one minute is no more precise.
        json!({ "outcome": outcome, "total": total, "per_minute": (per_minute * 10.0).round() / 10.0 })
    });
    if let Some(members) = document.as_object_mut() {
        members.insert("requests".into(), rates.collect());
    }
    document
}

pub(super) fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(super) fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = text(status, format!("{value}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
