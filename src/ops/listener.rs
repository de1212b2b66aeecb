//! The ops and admin listeners: the answer to each path, and how connections are served.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{net::Listener, sync::CancellationToken, task::TaskTracker};

use super::{
    admin::Admin,
    answer::{Body, document, is_meant, json, not_allowed, text, wrong_host},
    page,
};
use crate::{
    config::{self, Hosts, Limits},
    metrics::{Connections, Format, Metrics},
    server::{ConnectionLimiter, Permit, ProxyStatus, SocketFile, bind_unix},
};

/// The bound ops and admin listeners.
pub struct Ops {
    probes: Option<(TcpListener, Hosts)>,
    operators: Option<(UnixListener, SocketFile)>,
}

#[derive(Clone)]
struct Probes {
    status: ProxyStatus,
    /// The accepted host names.
    hosts: Hosts,
    metrics: Arc<Metrics>,
}

impl Ops {
    /// Binds the configured sockets.
    ///
    /// # Errors
    /// The system's error, with the address it concerns.
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

    /// Returns the address of the probes, if they are served. A port 0 is replaced by the one that the system chose.
    pub fn address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Serves until the returned set is dropped. Cancels `stop` when an operator asks the process to stop.
    pub fn serve(self, status: &ProxyStatus, metrics: Arc<Metrics>, stop: CancellationToken) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if self.probes.is_some() || self.operators.is_some() {
            let sampled = Arc::clone(&metrics);
            tasks.spawn(async move { sampled.sample().await });
        }
        if let Some((listener, hosts)) = self.probes {
            let probes = Probes { status: status.clone(), hosts, metrics: Arc::clone(&metrics) };
            let answer = move |request, asker: Requester| {
                let answer = probes.answer(&request, asker.is_near);
                async { answer }
            };
            tasks.spawn(accept(listener, MAX_PROBES, answer, || {}));
        }
        if let Some((listener, file)) = self.operators {
            let (asked, orders) = (Arc::default(), TaskTracker::new());
            let admin = Admin { status: status.clone(), metrics, asked, stop, orders };
            tasks.spawn(operate(listener, file, admin));
        }
        tasks
    }
}

/// Serves the admin socket, and binds it again if its file is lost.
async fn operate(mut listener: UnixListener, mut file: SocketFile, admin: Admin) {
    let health = admin.status.health().clone();
    loop {
        let (socket_watch, here, after) = (file.socket_watch(), admin.clone(), admin.clone());
        (listener, file) = tokio::select! {
            () = accept(listener, MAX_OPERATORS, move |request, asker: Requester| here.clone().answer(request, asker.uid), move || after.answered()) => return,
            anew = socket_watch.lost(&health, false) => anew,
        };
    }
}

/// Accepts connections for ever, and calls `over` after each. If too many are open, the oldest one that waits for a
/// request, or for its answer to be read, is closed.
async fn accept<L, A, F, O>(mut listener: L, most: usize, answer: A, over: O)
where
    O: Fn() + Clone + Send + 'static,
    L: Listener<Io: IdentifyRequester + AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    A: Fn(Request<Incoming>, Requester) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send,
{
    let limits = Limits { connections: most, ..Limits::default() };
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

/// Answers one request within [`CONNECTION_TIMEOUT`].
async fn serve<S, A, F>(stream: S, answer: A, permit: Permit)
where
    S: IdentifyRequester + AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(Request<Incoming>, Requester) -> F,
    F: Future<Output = Response<Body>>,
{
    let asker = stream.asker();
    let service = service_fn(|request| {
        permit.works();
        let (response, permit) = (answer(request, asker), &permit);
        async move {
            let response = response.await;
            permit.answers();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A prober that hangs up is not worth a log line.
        _ = timeout(CONNECTION_TIMEOUT, connection) => {}
        () = permit.left() => {}
    }
}

/// The sender of a request.
#[derive(Clone, Copy)]
struct Requester {
    /// Whether it is on this machine.
    is_near: bool,
    /// Its user id, if the kernel tells.
    uid: Option<u32>,
}

/// A connection that can identify its requester.
trait IdentifyRequester {
    fn asker(&self) -> Requester;
}

impl IdentifyRequester for TcpStream {
    /// Both ends must be loopback: what a service mesh forwards comes from a loopback address, too.
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
            "/version" => {
                let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
                json(StatusCode::OK, &json!({ "name": name, "version": version }))
            }
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

/// Returns OpenMetrics if the request accepts it, as Prometheus's does.
fn wanted_format(request: &Request<Incoming>) -> (Format, HeaderValue) {
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut accepted = accepted.into_iter();
    let open = accepted.any(|accepted| accepted.contains("application/openmetrics-text"));
    if open { (Format::OpenMetrics, OPEN_METRICS) } else { (Format::Classic, CLASSIC) }
}

/// Answers `/readyz` as Kubernetes does: one line per check, if `verbose` or if a check fails.
fn ready(status: &ProxyStatus, verbose: bool) -> Response<Body> {
    // Evaluated once, so that a failure always comes with its reason.
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
        // A frozen proxy is ready: it answers.
        for (by, frozen) in status.freeze().in_force() {
            out.push_str(&format!("[+] frozen, by {by}: {}\n", frozen.said.scope));
        }
        // Callers do not need it, so it does not fail readiness.
        for (address, problem) in status.health().lost_sockets(false) {
            out.push_str(&format!("[+] admin socket {address} is unreachable: {problem}\n"));
        }
    }
    out.push_str(if ready { "ok\n" } else { "not ready\n" });
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, out)
}

/// The maximum number of ops connections. Probers and scrapers are few, and an answer may be large.
const MAX_PROBES: usize = 16;
/// The maximum number of admin connections. Operators are few, too, but a freeze must not wait for a script's reloads.
const MAX_OPERATORS: usize = 64;
/// The maximum duration of a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The smallest buffer that hyper allows.
const BUFFER: usize = 8192;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const CLASSIC: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
