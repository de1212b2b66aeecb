//! The client of one endpoint: makes one attempt and reports how far it got.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Version,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, DATE, TRANSFER_ENCODING},
    response::Parts,
};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use tokio::time::{Instant, timeout_at};

use super::{
    Breaker, Budget, DialError, DialerError, Egress, Endpoint, InvalidAnswer, SendError,
    dial::Dialer,
    egress::Proxy,
    pool::{Connection, MAX_IDLE, Pool},
};
use crate::{clock::Skew, object::Object};

/// A request as it is sent. In the catalogue only creates have a body; requests for credentials do, too.
pub type Outbound = Request<Full<Bytes>>;

/// One upstream origin: its connections, time-outs and health. Threads may share everything except the connections.
pub struct Upstream {
    name: Arc<str>,
    dialer: Arc<Dialer>,
    pool: Pool,
    attempt_timeout: Duration,
    breaker: Arc<Breaker>,
    budget: Arc<Budget>,
    clock: Skew,
}

/// A connection that is ready for one request, nothing of which was written.
pub struct Connected<'u> {
    pool: &'u Pool,
    connection: Connection,
    deadline: Instant,
}

/// The time-outs of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// The time for DNS, TCP and TLS together.
    pub connect: Duration,
    /// The time for the whole attempt, including the connection.
    pub attempt: Duration,
}

/// The connections that an attempt may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionChoice {
    /// A pooled one if available.
    Pooled,
    /// A new one, because pooled ones may be dead.
    Fresh,
}

/// A complete answer of upstream.
#[derive(Debug)]
pub struct UpstreamAnswer {
    /// Its status: 200 to 299 or 400 to 599.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, within the requested maximum.
    pub body: Bytes,
}

/// The maximum body, in bytes, of the answer to a request of the proxy's own. Huawei's have a few hundred.
pub(super) const MAX_BODY: usize = 64 * 1024;

impl Upstream {
    /// Creates an upstream with an empty pool, whose circuit never opens. It dials with the first request.
    ///
    /// # Errors
    /// If the variable that names its egress proxy is invalid.
    pub fn new(endpoint: &Endpoint, egress: &Egress, timeouts: Timeouts) -> Result<Self, DialerError> {
        let name: Arc<str> = endpoint.to_string().into();
        Ok(Self {
            clock: Skew::new(Arc::clone(&name)),
            name,
            dialer: Arc::new(Dialer::new(endpoint, egress, timeouts.connect)?),
            pool: Pool::new(MAX_IDLE),
            attempt_timeout: timeouts.attempt,
            breaker: Arc::new(Breaker::never()),
            budget: Arc::default(),
        })
    }

    /// Sets the breaker and the retry budget.
    pub fn guarded(self, breaker: Breaker, budget: Budget) -> Self {
        Self { breaker: Arc::new(breaker), budget: Arc::new(budget), ..self }
    }

    /// Returns the same upstream with a pool of its own for another thread, of at most `most_idle` idle connections.
    pub fn with_own_pool(&self, most_idle: usize) -> Self {
        Self {
            name: Arc::clone(&self.name),
            dialer: Arc::clone(&self.dialer),
            pool: Pool::new(most_idle),
            attempt_timeout: self.attempt_timeout,
            breaker: Arc::clone(&self.breaker),
            budget: Arc::clone(&self.budget),
            clock: self.clock.clone(),
        }
    }

    /// Sets the clock.
    pub fn timed(self, clock: Skew) -> Self {
        Self { clock, ..self }
    }

    /// Returns its endpoint as configured.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns its egress proxy, if any.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.dialer.proxy()
    }

    /// Returns its circuit breaker.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Returns the skew of its clock.
    pub fn clock(&self) -> &Skew {
        &self.clock
    }

    /// Returns its retry budget.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Makes one attempt, which ends at `deadline` or after the attempt time-out, whichever is earlier.
    ///
    /// # Errors
    /// See [`SendError`]: each variant says whether the request may have been processed.
    pub async fn send(
        &self,
        request: Outbound,
        via: ConnectionChoice,
        deadline: Instant,
    ) -> Result<UpstreamAnswer, SendError> {
        self.connect(via, deadline).await?.send(Box::new(request), MAX_BODY).await
    }

    /// Does the first half of [`Self::send`]: nothing has been sent if the result is dropped.
    ///
    /// # Errors
    /// If there is no connection.
    pub async fn connect(
        &self,
        via: ConnectionChoice,
        deadline: Instant,
    ) -> Result<Connected<'_>, DialError> {
        let deadline = deadline.min(Instant::now() + self.attempt_timeout);
        let pooled = if via == ConnectionChoice::Pooled { self.pool.take(&self.dialer).await } else { None };
        let connection = match pooled {
            Some(connection) => connection,
            // Boxed, so that the large state of dialling is freed before the wait for the answer.
            None => Box::pin(self.open(deadline)).await?,
        };
        Ok(Connected { pool: &self.pool, connection, deadline })
    }

    async fn open(&self, deadline: Instant) -> Result<Connection, DialError> {
        super::pool::handshake(self.dialer.dial(deadline).await?).await
    }

    /// Closes connections that have been idle too long. To be called every few seconds.
    pub fn sweep(&self) {
        self.pool.sweep();
    }
}

impl Connected<'_> {
    /// Does the second half of [`Upstream::send`], and accepts a body of up to `largest` bytes.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send(mut self, request: Box<Outbound>, largest: usize) -> Result<UpstreamAnswer, SendError> {
        match timeout_at(self.deadline, exchange(&mut self.connection, request, largest)).await {
            Ok(Ok(answer)) => {
                self.pool.put(self.connection);
                Ok(answer)
            }
            Ok(Err(error)) => Err(error),
            // The driver may be writing the request right now.
            Err(_) => Err(SendError::Timeout),
        }
    }
}

impl UpstreamAnswer {
    /// Returns the `Date` of the answer.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        let date = self.headers.get(DATE)?.to_str().ok()?;
        httpdate::parse_http_date(date).ok().map(DateTime::from)
    }

    /// Returns the `error_code` of an error answer in Huawei's format.
    pub fn error_code(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Error {
            error_code: String,
        }
        if self.status.is_success() {
            return None;
        }
        serde_json::from_slice(&self.body).ok().map(|Object(error): Object<Error>| error.error_code)
    }
}

impl UpstreamAnswer {
    /// Whether its text is compressed or in UTF-16, so that a secret in it would not be found.
    fn is_encoded(&self) -> bool {
        let identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
        let coded = !self.headers.get_all(CONTENT_ENCODING).iter().all(identity);
        !self.body.is_empty() && (coded || self.body.contains(&0))
    }
}

pub(super) async fn exchange(
    connection: &mut Connection,
    request: Box<Outbound>,
    largest: usize,
) -> Result<UpstreamAnswer, SendError> {
    connection.begin_request();
    let sent = connection.sender.send_request(*request).await;
    let (head, body) = sent.map_err(|error| connection.judge(&error))?.into_parts();
    if let Some(invalid) = fault(&head) {
        return Err(SendError::Invalid(invalid));
    }
    let body = Limited::new(body, largest).collect().await;
    answer(head, body.map(Collected::to_bytes)).map_err(SendError::Invalid)
}

/// Returns why an answer with this head is not acceptable, whatever its body.
fn fault(head: &Parts) -> Option<InvalidAnswer> {
    if !head.status.is_success() && !head.status.is_client_error() && !head.status.is_server_error() {
        return Some(InvalidAnswer::Status);
    }
    is_ambiguous(head).then_some(InvalidAnswer::Malformed)
}

fn answer(
    head: Parts,
    body: Result<Bytes, Box<dyn Error + Send + Sync>>,
) -> Result<UpstreamAnswer, InvalidAnswer> {
    let body = body.map_err(|error| {
        if error.is::<LengthLimitError>() { InvalidAnswer::TooLarge } else { InvalidAnswer::Cut }
    })?;
    let answer = UpstreamAnswer { status: head.status, headers: head.headers, body };
    if answer.is_encoded() { Err(InvalidAnswer::Encoded) } else { Ok(answer) }
}

/// Whether two parsers could disagree about the end of the body (RFC 9112, section 6.3): hyper prefers
/// `Transfer-Encoding` to `Content-Length`, and reads unknown codings to the end of the connection.
fn is_ambiguous(head: &Parts) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return false };
    let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    !chunked || head.version != Version::HTTP_11 || head.headers.contains_key(CONTENT_LENGTH)
}
