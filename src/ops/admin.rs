//! What may an operator change while it runs? Freeze and thaw, reload, stop: over a Unix socket, whose permissions
//! say who is an operator.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONNECTION};
use hyper::body::Incoming;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{Body, json, text};
use crate::{reload::Reloaded, server::Insight};

/// Answers operators.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) insight: Insight,
    /// An operator asked the process to stop.
    pub(super) asked: Arc<AtomicBool>,
    /// Cancelled when an operator asked the process to stop.
    pub(super) stop: CancellationToken,
}

impl Admin {
    /// A connection is over. Only now is the process asked to stop: it might end before the answer is out.
    pub(super) fn answered(&self) {
        if self.asked.load(Relaxed) {
            self.stop.cancel();
        }
    }

    pub(super) async fn answer(self, request: Request<Incoming>) -> Response<Body> {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/status") => json(StatusCode::OK, &self.insight.status(true)),
            (&Method::PUT, "/freeze") => self.freeze(true),
            (&Method::DELETE, "/freeze") => self.freeze(false),
            (&Method::POST, "/reload") => self.reload().await,
            (&Method::POST, "/shutdown") => {
                tracing::warn!("an operator asked to stop");
                self.asked.store(true, Relaxed);
                let mut accepted = json(StatusCode::ACCEPTED, &json!({ "draining": true }));
                accepted.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                accepted
            }
            _ => text(StatusCode::NOT_FOUND, HELP.into()),
        }
    }

    fn freeze(&self, frozen: bool) -> Response<Body> {
        let freeze = self.insight.freeze();
        if freeze.by_operator(frozen) {
            let note = if frozen { FOR_NOW } else { "an operator's freeze is lifted" };
            tracing::warn!(frozen, note, "an operator changed the freeze");
        }
        let by: Vec<&str> = freeze.in_force().iter().map(|(by, _)| *by).collect();
        let note = match (frozen, by.is_empty()) {
            (true, _) => Some(FOR_NOW),
            (false, false) => Some("the freeze file still freezes: it is lifted by removing that"),
            (false, true) => None,
        };
        json(StatusCode::OK, &json!({ "frozen": !by.is_empty(), "by": by, "note": note }))
    }

    async fn reload(&self) -> Response<Body> {
        match self.insight.reloader().reload().await {
            Reloaded::Applied(hash) => json(StatusCode::OK, &json!({ "policy": &*hash })),
            Reloaded::Refused(problem) | Reloaded::Pending(problem) => {
                json(StatusCode::CONFLICT, &json!({ "problem": problem }))
            }
        }
    }
}

const FOR_NOW: &str = "this freeze ends with this process: one that survives a restart is a `freeze_file`";
const HELP: &str = "GET /status, PUT /freeze, DELETE /freeze, POST /reload, POST /shutdown\n";
