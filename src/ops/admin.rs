//! The admin API on a Unix socket: freeze, unfreeze, reload, stop, try a credential. The socket's permissions decide who
//! is an operator.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONNECTION};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    answer::{Body, document, is_meant, json, not_allowed, text, wrong_host},
    page,
};
use crate::{
    config::Hosts,
    identity::CallerId,
    limit::FreezeScope,
    metrics::Metrics,
    object::Object,
    reload::Reloaded,
    server::{OperatorCommand, ProxyStatus},
};

/// The admin API.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) status: ProxyStatus,
    pub(super) metrics: Arc<Metrics>,
    /// Whether an operator asked the process to stop.
    pub(super) asked: Arc<AtomicBool>,
    /// Cancelled when an operator asked the process to stop.
    pub(super) stop: CancellationToken,
    /// Runs the operators' commands, also after the operator hung up.
    pub(super) orders: TaskTracker,
}

impl Admin {
    /// Notes that a connection is over. A requested stop begins only now, because the process might end before the answer is
    /// sent.
    pub(super) fn answered(&self) {
        if self.asked.load(Relaxed) {
            self.stop.cancel();
        }
    }

    /// Answers the user with this id. The command is carried out and recorded even if the operator hangs up.
    pub(super) fn answer(
        self,
        request: Request<Incoming>,
        uid: Option<u32>,
    ) -> impl Future<Output = Response<Body>> + use<> {
        let ((tell, told), admin) = (oneshot::channel(), self.clone());
        let orders = self.orders.clone();
        orders.spawn(async move {
            let answer = self.carry_out(request, uid).await;
            // The operator hung up, so no connection ends after this answer.
            if tell.send(answer).is_err() {
                admin.answered();
            }
        });
        async {
            let failed = |_| problem(StatusCode::INTERNAL_SERVER_ERROR, "it failed: see the log");
            told.await.unwrap_or_else(failed)
        }
    }

    async fn carry_out(self, request: Request<Incoming>, uid: Option<u32>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let allowed = match parts.uri.path() {
            "/" | "/status" => "GET, HEAD",
            "/freeze" => "PUT, DELETE",
            "/reload" | "/shutdown" | "/try" => "POST",
            _ => return text(StatusCode::NOT_FOUND, HELP.into()),
        };
        if !allowed.split(", ").any(|method| method == parts.method.as_str()) {
            return not_allowed(allowed);
        }
        // A browser can get here through a forwarded port. It may read, but a foreign page must not act through it.
        if parts.method != Method::GET && BROWSERS.iter().any(|name| parts.headers.contains_key(*name)) {
            let why = "browser requests are rejected: use `mpc-auth-proxy` or curl";
            return problem(StatusCode::FORBIDDEN, why);
        }
        if parts.uri.path() == "/" {
            if !is_meant(&parts.headers, &parts.uri, &Hosts::Default) {
                return wrong_host(&self.status);
            }
            let query = parts.uri.query().unwrap_or_default();
            return page::answer(&self.status, &document(&self.status, &self.metrics, true), query, true);
        }
        let order = match self.order(body, uid).await {
            Ok(order) => order,
            Err(why) => return problem(StatusCode::BAD_REQUEST, &why),
        };
        // The command would ignore the project, which is not what the operator meant.
        if order.project.is_some() && parts.uri.path() != "/try" {
            let why = "`project` is for /try only: a freeze takes `callers`";
            return problem(StatusCode::BAD_REQUEST, why);
        }
        match (parts.method, parts.uri.path()) {
            (Method::PUT, _) => self.freeze(&order).await,
            (Method::DELETE, _) => self.unfreeze(&order).await,
            (_, "/reload") => self.reload(&order).await,
            (_, "/shutdown") => self.shutdown(&order),
            (_, "/try") => self.try_credentials(&order).await,
            _ => json(StatusCode::OK, &document(&self.status, &self.metrics, true)),
        }
    }

    /// Reads the command from the body. Without a body it concerns all callers.
    async fn order(&self, body: Incoming, uid: Option<u32>) -> Result<OperatorCommand, String> {
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(|error| format!("cannot read the body: {error}"))?.to_bytes();
        let Object(asked): Object<OperatorRequest> = match &*body {
            [] => Object(OperatorRequest::default()),
            text => serde_json::from_slice(text).map_err(|error| format!("invalid body: {error}"))?,
        };
        let reason = asked.reason.filter(|reason| !reason.trim().is_empty());
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON) {
            return Err(format!("a reason has at most {MAX_REASON} characters"));
        }
        let scope = match asked.callers.as_deref() {
            None => FreezeScope::Everybody,
            Some([]) => return Err("`callers` is empty: omit it to freeze everybody".into()),
            Some(names) => {
                FreezeScope::Callers(names.iter().map(|name| self.caller(name)).collect::<Result<_, _>>()?)
            }
        };
        Ok(OperatorCommand { scope, uid, reason, project: asked.project })
    }

    fn caller(&self, name: &str) -> Result<CallerId, String> {
        let caller = CallerId::parse(name).ok().filter(|caller| self.status.is_known(caller));
        caller.ok_or_else(|| format!("unknown caller {name:?} in the policy in force"))
    }

    async fn freeze(&self, order: &OperatorCommand) -> Response<Body> {
        let note = self.status.operators().freeze(order).await;
        self.frozen(StatusCode::OK, note.as_deref())
    }

    async fn unfreeze(&self, order: &OperatorCommand) -> Response<Body> {
        match self.status.operators().unfreeze(order).await {
            Ok(note) => self.frozen(StatusCode::OK, note.as_deref()),
            Err(error) => self.frozen(StatusCode::CONFLICT, Some(&error.to_string())),
        }
    }

    /// Returns who is frozen now.
    fn frozen(&self, status: StatusCode, note: Option<&str>) -> Response<Body> {
        let in_force = self.status.freeze().in_force();
        let by: Vec<&str> = in_force.iter().map(|(by, _)| *by).collect();
        let problem = note.filter(|_| status != StatusCode::OK);
        let freeze = self.status.frozen();
        let frozen = !by.is_empty();
        json(
            status,
            &json!({ "frozen": frozen, "by": by, "note": note, "freeze": freeze, "problem": problem }),
        )
    }

    async fn reload(&self, order: &OperatorCommand) -> Response<Body> {
        match self.status.operators().reload(order).await {
            Reloaded::Applied(hash) => json(StatusCode::OK, &json!({ "policy": &*hash })),
            Reloaded::Refused(why) => problem(StatusCode::CONFLICT, &why),
            Reloaded::Pending(why) => json(StatusCode::CONFLICT, &json!({ "problem": why, "pending": true })),
        }
    }

    /// Tries the credential of the named project with one call.
    async fn try_credentials(&self, order: &OperatorCommand) -> Response<Body> {
        let project = order.project.as_deref().unwrap_or_default();
        match self.status.try_credentials(order).await {
            Some(trial) => json(StatusCode::OK, &serde_json::to_value(trial).unwrap_or_default()),
            None => problem(StatusCode::BAD_REQUEST, &format!("unknown project {project:?}")),
        }
    }

    fn shutdown(&self, order: &OperatorCommand) -> Response<Body> {
        self.status.operators().stop(order);
        self.asked.store(true, Relaxed);
        let mut accepted = json(StatusCode::ACCEPTED, &json!({ "draining": true }));
        accepted.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        accepted
    }
}

fn problem(status: StatusCode, why: &str) -> Response<Body> {
    json(status, &json!({ "problem": why }))
}

/// The body of an operator's request.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperatorRequest {
    callers: Option<Vec<String>>,
    reason: Option<String>,
    /// For `/try` only.
    project: Option<String>,
}

/// Headers that browsers send with the requests of foreign pages.
const BROWSERS: [&str; 2] = ["origin", "sec-fetch-site"];
/// Room for a thousand callers.
const MAX_BODY: usize = 128 * 1024;
/// The length to which records cut it.
const MAX_REASON: usize = 128;
const HELP: &str =
    "GET /, GET /status, PUT /freeze, DELETE /freeze, POST /reload, POST /shutdown, POST /try\n";
