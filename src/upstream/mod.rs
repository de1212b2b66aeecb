//! How does a request get to Huawei Cloud, and an answer back?
//!
//! One [`Upstream`] per endpoint: it dials, keeps a small pool of HTTP/1.1 connections, and sends **one**
//! attempt. It stands before configuration because settings are made of its types. Where a request goes comes
//! from an [`Endpoint`] alone, never from anything a caller sent.
//!
//! It does not repeat anything: it says precisely how far an attempt got ([`SendError`]) and leaves it to the
//! retry stage to judge. It follows no redirect and reads no answer beyond its limits.

mod dial;
mod endpoint;
mod pool;
mod stream;

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, Request, Response, StatusCode, header::DATE};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

pub use dial::{DialError, Roots, RootsError};
pub use endpoint::{Endpoint, EndpointError};

use dial::Dialer;
use pool::{Connection, Pool};

/// A request as it goes on the wire. No operation of the catalogue has a body; the requests for credentials do.
pub type Outbound = Request<Full<Bytes>>;

/// One upstream origin: its connections and its time-outs.
pub struct Upstream {
    dialer: Dialer,
    pool: Pool,
    attempt_timeout: Duration,
}

/// The time-outs of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For DNS, TCP and TLS together.
    pub connect: Duration,
    /// For the whole attempt, the connection included.
    pub attempt: Duration,
}

/// Which connection an attempt may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A pooled one where there is one.
    Pooled,
    /// A new one: the last attempt learned that pooled ones may be dead.
    Fresh,
}

/// A whole answer of upstream, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status: 200 to 299 or 400 to 599.
    pub status: StatusCode,
    /// Its headers, all of them.
    pub headers: HeaderMap,
    /// Its body, at most [`MAX_BODY`] bytes.
    pub body: Bytes,
}

/// How far an attempt got before it failed.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No connection: not one byte of the request was written. Safe to repeat.
    #[error("cannot connect to upstream: {0}")]
    Dial(#[from] DialError),
    /// The connection was closed before a byte of the request was written. Safe to repeat.
    #[error("the connection to upstream closed before the request was written")]
    Unsent,
    /// A pooled connection died after the request was written and before the first byte of an answer: most
    /// likely upstream had closed it while it was idle, but nobody can be sure.
    #[error("a reused connection to upstream died before an answer")]
    Stale,
    /// The request was written; then no whole answer came in time.
    #[error("upstream did not answer in time")]
    Timeout,
    /// The request was written; then the connection ended without an answer.
    #[error("upstream closed the connection without an answer")]
    Closed,
    /// The request was written; what came back is not an acceptable answer.
    #[error("upstream's answer is not acceptable: {0}")]
    Invalid(Invalid),
}

/// Why an answer is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not HTTP/1.1.
    #[error("it is not HTTP")]
    Malformed,
    /// It ended before it was complete.
    #[error("it was cut")]
    Cut,
    /// Its body is longer than [`MAX_BODY`].
    #[error("its body is longer than {MAX_BODY} bytes")]
    TooLarge,
    /// It switches protocols or redirects: neither is ever followed.
    #[error("it redirects or switches protocols")]
    Status,
}

/// The longest body of an answer that is passed on, in bytes. Huawei's are a few hundred.
pub const MAX_BODY: usize = 64 * 1024;

impl Upstream {
    /// An upstream with an empty pool. Nothing is dialled before the first request.
    ///
    /// # Errors
    /// Where TLS cannot name the endpoint's host.
    pub fn new(endpoint: &Endpoint, roots: &Roots, timeouts: Timeouts) -> Result<Self, RootsError> {
        Ok(Self {
            dialer: Dialer::new(endpoint, roots, timeouts.connect)?,
            pool: Pool::default(),
            attempt_timeout: timeouts.attempt,
        })
    }

    /// Makes one attempt, which ends at `deadline` or after the attempt time-out, whichever is earlier.
    ///
    /// # Errors
    /// See [`SendError`]: each variant says whether the request may have been processed.
    pub async fn send(&self, request: Outbound, via: Use, deadline: Instant) -> Result<Answer, SendError> {
        let deadline = deadline.min(Instant::now() + self.attempt_timeout);
        let pooled = if via == Use::Pooled { self.pool.take().await } else { None };
        let mut connection = match pooled {
            Some(connection) => connection,
            None => {
                let dialled = timeout_at(deadline, self.dialer.dial()).await;
                pool::handshake(dialled.map_err(|_| DialError::Timeout)??).await?
            }
        };
        match timeout_at(deadline, exchange(&mut connection, request)).await {
            Ok(Ok(answer)) => {
                self.pool.put(connection);
                Ok(answer)
            }
            Ok(Err(error)) => Err(error),
            Err(_) if connection.wrote_nothing() => Err(SendError::Dial(DialError::Timeout)),
            Err(_) => Err(SendError::Timeout),
        }
    }

    /// Closes connections that have been idle for long. To be called every few seconds.
    pub fn sweep(&self) {
        self.pool.sweep();
    }
}

impl Answer {
    /// When upstream says that it answered.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        let date = self.headers.get(DATE)?.to_str().ok()?;
        httpdate::parse_http_date(date).ok().map(DateTime::from)
    }

    /// The `error_code` of an error answer in Huawei's shape.
    pub fn error_code(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Error {
            error_code: String,
        }
        if self.status.is_success() {
            return None;
        }
        serde_json::from_slice(&self.body).ok().map(|error: Error| error.error_code)
    }
}

async fn exchange(connection: &mut Connection, request: Outbound) -> Result<Answer, SendError> {
    connection.mark();
    match connection.sender.send_request(request).await {
        Ok(response) => read(response).await,
        Err(error) => Err(connection.judge(&error)),
    }
}

async fn read(response: Response<Incoming>) -> Result<Answer, SendError> {
    let (head, body) = response.into_parts();
    if !head.status.is_success() && !head.status.is_client_error() && !head.status.is_server_error() {
        return Err(SendError::Invalid(Invalid::Status));
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() }),
        Err(error) if error.is::<LengthLimitError>() => Err(SendError::Invalid(Invalid::TooLarge)),
        Err(_) => Err(SendError::Invalid(Invalid::Cut)),
    }
}
