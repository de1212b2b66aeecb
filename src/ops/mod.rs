//! Probes, metrics and status. Read-only answers for probes and scrapers, and a socket for operators.
//!
//! It stands outside the stack: no caller, no policy, no audit record. The probes listen on an address of their own,
//! which belongs on loopback or a pod's network.

mod admin;
mod page;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HOST},
    uri::Authority,
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{net::Listener, sync::CancellationToken};

use crate::{
    config::{self, Hosts, Limits},
    metrics::{Connections, Format, Metrics, OutcomeRate},
    reason::Code,
    server::{ConnectionLimiter, Permit, ProxyStatus, SocketFile, bind_unix},
};
use admin::Admin;

type Body = Full<Bytes>;

/// The bound listeners of probes and operators.
pub struct Ops {
    probes: Option<(TcpListener, Hosts)>,
    operators: Option<(UnixListener, SocketFile)>,
}

#[derive(Clone)]
struct Probes {
    status: ProxyStatus,
    /// The names that are answered.
    hosts: Hosts,
    metrics: Arc<Metrics>,
}

impl Ops {
    /// Binds what the configuration says.
    ///
    /// # Errors
    /// As the system says, with the address it says it of.
    pub async fn bind(
        probes: Option<config::Ops>,
        operators: Option<&config::Admin>,
    ) -> Result<Self, (String, io::Error)> {
        let probes = match probes {
            Some(config::Ops { bind, hosts }) => {
                Some((TcpListener::bind(bind).await.map_err(|e| (bind.to_string(), e))?, hosts))
            }
            None => None,
        };
        let operators = operators
            .map(|admin| {
                let failed = |error| (format!("unix:{}", admin.path.display()), error);
                bind_unix(&admin.path, admin.mode).map_err(failed)
            })
            .transpose()?;
        Ok(Self { probes, operators })
    }

    /// The address of the probes, where they are served: the port is the one the system chose for 0.
    pub fn address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Answers until the returned set is dropped. `stop` is cancelled when an operator asks the process to stop.
    pub fn serve(self, status: &ProxyStatus, metrics: Arc<Metrics>, stop: CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let sampled = Arc::clone(&metrics);
        tasks.spawn(async move { sampled.sample().await });
        if let Some((listener, hosts)) = self.probes {
            let probes = Probes { status: status.clone(), hosts, metrics: Arc::clone(&metrics) };
            let answer = move |request, asker: Requester| {
                let answer = probes.answer(&request, asker.is_near);
                async { answer }
            };
            tasks.spawn(accept(listener, answer, || {}));
        }
        if let Some(socket) = self.operators {
            let admin = Admin { status: status.clone(), metrics, asked: Arc::default(), stop };
            tasks.spawn(operate(socket, admin));
        }
        tasks
    }
}

/// Answers operators, also after the file of their socket was lost.
async fn operate((mut listener, mut file): (UnixListener, SocketFile), admin: Admin) {
    let health = admin.status.health().clone();
    loop {
        let (socket_watch, here, after) = (file.socket_watch(), admin.clone(), admin.clone());
        (listener, file) = tokio::select! {
            () = accept(listener, move |request, asker: Requester| here.clone().answer(request, asker.uid), move || after.answered()) => return,
            anew = socket_watch.lost(&health, false) => anew,
        };
    }
}

/// Accepts for ever; `over` is called after each connection. Where too many are open, the oldest makes room.
async fn accept<L, A, F, O>(mut listener: L, answer: A, over: O)
where
    O: Fn() + Clone + Send + 'static,
    L: Listener<Io: IdentifyRequester + AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    A: Fn(Request<Incoming>, Requester) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send,
{
    let limits = Limits { connections: MAX_CONNECTIONS, ..Limits::default() };
    let limiter = ConnectionLimiter::new(&limits, Connections::default());
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let permit = limiter.permit().await;
                let (answer, over) = (answer.clone(), over.clone());
                drop(connections.spawn(async move {
                    serve(stream, answer, permit).await;
                    over();
                }));
            }
            Err(_) => {
                limiter.make_room();
                sleep(ACCEPT_BACKOFF).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Answers one request, in a bounded time.
async fn serve<S, A, F>(stream: S, answer: A, permit: Permit)
where
    S: IdentifyRequester + AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, Requester) -> F,
    F: Future<Output = Response<Body>>,
{
    let asker = stream.asker();
    let service = service_fn(|request| {
        let response = answer(request, asker);
        async { Ok::<_, Infallible>(response.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A prober that hangs up is no event.
        _ = timeout(CONNECTION_TIMEOUT, connection) => {}
        () = permit.left() => {}
    }
}

/// Who asks.
#[derive(Clone, Copy)]
struct Requester {
    /// From this machine.
    is_near: bool,
    /// As this user, where the kernel tells.
    uid: Option<u32>,
}

/// A connection, of which can be told who asks.
trait IdentifyRequester {
    fn asker(&self) -> Requester;
}

impl IdentifyRequester for TcpStream {
    /// Both ends count: what a mesh passes on comes from an address of loopback as well.
    fn asker(&self) -> Requester {
        let near = |end: io::Result<SocketAddr>| end.is_ok_and(|end| end.ip().to_canonical().is_loopback());
        Requester { is_near: near(self.peer_addr()) && near(self.local_addr()), uid: None }
    }
}

impl IdentifyRequester for UnixStream {
    fn asker(&self) -> Requester {
        Requester { is_near: true, uid: self.peer_cred().ok().map(|user| user.uid()) }
    }
}

impl Probes {
    fn answer(&self, request: &Request<Incoming>, near: bool) -> Response<Body> {
        if !is_meant(request.headers(), request.uri(), &self.hosts) {
            return wrong_host(&self.status);
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return not_allowed("GET, HEAD");
        }
        let query = request.uri().query().unwrap_or_default();
        let verbose = query.split('&').any(|parameter| parameter == "verbose" || parameter == "verbose=true");
        match request.uri().path() {
            "/" => page::answer(&self.status, &document(&self.status, &self.metrics, near), query, near),
            "/livez" => text(StatusCode::OK, "ok\n".into()),
            "/startupz" if self.status.health().is_started() => text(StatusCode::OK, "ok\n".into()),
            "/startupz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
            "/readyz" => ready(&self.status, verbose),
            "/version" => json(
                StatusCode::OK,
                &json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }),
            ),
            "/status" => json(StatusCode::OK, &document(&self.status, &self.metrics, near)),
            "/metrics" => {
                let (format, media_type) = wanted_format(request);
                let mut response = text(StatusCode::OK, self.metrics.text(format, &self.status.state()));
                response.headers_mut().insert(CONTENT_TYPE, media_type);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "/ /livez /readyz /startupz /status /version /metrics\n".into()),
        }
    }
}

/// Whether every host that a request names is ours. One that names none comes from no browser.
fn is_meant(headers: &HeaderMap, target: &Uri, hosts: &Hosts) -> bool {
    let named = headers.get_all(HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let target = target.authority().map(Authority::as_str);
    named.chain(target).all(|host| hosts.answer_to_addresses_and(host))
}

fn wrong_host(status: &ProxyStatus) -> Response<Body> {
    let request_id = status.request_id();
    let mut response = json(
        StatusCode::MISDIRECTED_REQUEST,
        &json!({
            "error_code": Code::WrongHost.as_str(),
            "error_msg": "this address does not answer to that host: ask by IP address, or name it in `ops.hosts`",
            "request_id": request_id,
        }),
    );
    response.headers_mut().extend(HeaderValue::try_from(request_id).ok().map(|id| (REQUEST_ID, id)));
    response
}

/// What is known of the proxy, and what became of requests.
fn document(status: &ProxyStatus, metrics: &Metrics, near: bool) -> Value {
    let mut document = status.status(near);
    let rates = metrics.outcomes().into_iter().map(|OutcomeRate { outcome, total, per_minute }| {
        // A tenth is what a minute's count is good for.
        json!({ "outcome": outcome, "total": total, "per_minute": (per_minute * 10.0).round() / 10.0 })
    });
    if let Some(members) = document.as_object_mut() {
        members.insert("requests".into(), rates.collect());
    }
    document
}

/// OpenMetrics where it is asked for, as Prometheus does.
fn wanted_format(request: &Request<Incoming>) -> (Format, HeaderValue) {
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    match accepted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text")) {
        true => (Format::OpenMetrics, OPEN_METRICS),
        false => (Format::Classic, CLASSIC),
    }
}

/// As the probes of Kubernetes print it: a line a check, when asked to or when one fails.
fn ready(status: &ProxyStatus, verbose: bool) -> Response<Body> {
    // Asked once: an answer that says no always says why.
    let checks = status.health().checks();
    let ready = checks.iter().all(|check| check.problem.is_none());
    let mut out = String::new();
    if verbose || !ready {
        for check in checks {
            match check.problem {
                None => out.push_str(&format!("[+] {} ok\n", check.name)),
                Some(problem) => out.push_str(&format!("[-] {}: {problem}\n", check.name)),
            }
        }
        // Frozen is ready: it answers.
        for (by, frozen) in status.freeze().in_force() {
            out.push_str(&format!("[+] frozen, by {by}: {}\n", frozen.said.scope));
        }
        // No caller needs it.
        for (address, problem) in status.health().lost_sockets(false) {
            out.push_str(&format!("[+] operators cannot connect to {address}: {problem}\n"));
        }
    }
    out.push_str(if ready { "ok\n" } else { "not ready\n" });
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, out)
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = text(status, format!("{value}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Probers, scrapers and operators are few, and an answer may be large.
const MAX_CONNECTIONS: usize = 16;
/// From being accepted to the end.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The smallest that hyper has.
const BUFFER: usize = 8192;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const CLASSIC: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
