//! Is it alive, ready, and how is it doing? Read-only answers for probes and scrapers.
//!
//! It stands outside the stack: no caller, no policy, no audit record. It listens on an address of its own, which
//! belongs on loopback or a pod's network.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};

use crate::{metrics::Metrics, server::Health};

/// The listener of the probes. It serves until it is dropped.
pub struct Ops {
    address: SocketAddr,
    listener: TcpListener,
}

#[derive(Clone)]
struct Sources {
    health: Health,
    metrics: Arc<Metrics>,
}

impl Ops {
    /// Binds the address.
    ///
    /// # Errors
    /// As the system says.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// The address that was bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the returned set is dropped.
    pub fn serve(self, health: Health, metrics: Arc<Metrics>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(self.listener, Sources { health, metrics }));
        tasks
    }
}

async fn accept(listener: TcpListener, sources: Sources) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let sources = sources.clone();
                drop(connections.spawn(async move {
                    serve(stream, sources).await;
                    drop(permit);
                }));
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, sources: Sources) {
    let service = service_fn(|request| {
        let response = answer(&request, &sources);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    // A prober that hangs up is no event.
    drop(connection.await);
}

fn answer(request: &Request<Incoming>, sources: &Sources) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
    }
    let verbose =
        request.uri().query().is_some_and(|q| q.split('&').any(|p| p == "verbose" || p == "verbose=true"));
    match request.uri().path() {
        "/livez" => text(StatusCode::OK, "ok\n".into()),
        "/startupz" if sources.health.is_started() => text(StatusCode::OK, "ok\n".into()),
        "/startupz" => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n".into()),
        "/readyz" => ready(&sources.health, verbose),
        "/version" => json(&serde_json::json!({
            "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")
        })),
        "/metrics" => {
            let mut response = text(StatusCode::OK, sources.metrics.text());
            response.headers_mut().insert(CONTENT_TYPE, OPEN_METRICS);
            response
        }
        _ => text(StatusCode::NOT_FOUND, "/livez /readyz /startupz /version /metrics\n".into()),
    }
}

/// As the probes of Kubernetes print it: a line a check, when asked to or when one fails.
fn ready(health: &Health, verbose: bool) -> Response<Full<Bytes>> {
    let (checks, ready) = (health.checks(), health.is_ready());
    let mut out = String::new();
    if verbose || !ready {
        for check in checks {
            match check.problem {
                None => out.push_str(&format!("[+] {} ok\n", check.name)),
                Some(problem) => out.push_str(&format!("[-] {}: {problem}\n", check.name)),
            }
        }
    }
    out.push_str(if ready { "ok\n" } else { "not ready\n" });
    text(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, out)
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn json(value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut response = text(StatusCode::OK, format!("{value}\n"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Probes and scrapers are few.
const MAX_CONNECTIONS: usize = 64;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
