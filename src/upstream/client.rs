//! The client of one endpoint: one attempt at a time, and how far it got.

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

/// A request as it goes on the wire. Of the catalogue only creates have a body; the requests for credentials do, too.
pub type Outbound = Request<Full<Bytes>>;

/// One upstream origin: its connections, its time-outs, and how it is doing. All but the connections may be shared by
/// several threads.
pub struct Upstream {
    name: Arc<str>,
    dialer: Arc<Dialer>,
    pool: Pool,
    attempt_timeout: Duration,
    breaker: Arc<Breaker>,
    budget: Arc<Budget>,
    clock: Skew,
}

/// A connection that is ready for one request, of which nothing was written.
pub struct Connected<'u> {
    pool: &'u Pool,
    connection: Connection,
    deadline: Instant,
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
pub enum ConnectionChoice {
    /// A pooled one where there is one.
    Pooled,
    /// A new one: the last attempt learned that pooled ones may be dead.
    Fresh,
}

/// A whole answer of upstream, read to its end.
#[derive(Debug)]
pub struct UpstreamAnswer {
    /// Its status: 200 to 299 or 400 to 599.
    pub status: StatusCode,
    /// Its headers, all of them.
    pub headers: HeaderMap,
    /// Its body, of no more bytes than were asked for.
    pub body: Bytes,
}

/// The longest body of the answer to a question of the proxy's own, in bytes. Huawei's are a few hundred.
pub(super) const MAX_BODY: usize = 64 * 1024;

impl Upstream {
    /// An upstream with an empty pool, whose circuit never opens. Nothing is dialled before the first request.
    ///
    /// # Errors
    /// Where TLS cannot name the endpoint's host, or its egress proxy is not known.
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

    /// The same, with this breaker and this budget of retries.
    pub fn guarded(self, breaker: Breaker, budget: Budget) -> Self {
        Self { breaker: Arc::new(breaker), budget: Arc::new(budget), ..self }
    }

    /// The same upstream with a pool of its own, of at most so many idle connections, for another thread.
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

    /// The same, by this clock.
    pub fn timed(self, clock: Skew) -> Self {
        Self { clock, ..self }
    }

    /// Its endpoint, as it is written in the configuration.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The egress proxy it is reached through, if any.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.dialer.proxy()
    }

    /// What keeps calls from it while it fails.
    pub fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// What is known of its clock.
    pub fn clock(&self) -> &Skew {
        &self.clock
    }

    /// What keeps retries few.
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

    /// The first half of [`Self::send`]: whoever drops it has sent nothing.
    ///
    /// # Errors
    /// Where there is no connection.
    pub async fn connect(
        &self,
        via: ConnectionChoice,
        deadline: Instant,
    ) -> Result<Connected<'_>, DialError> {
        let deadline = deadline.min(Instant::now() + self.attempt_timeout);
        let pooled = if via == ConnectionChoice::Pooled { self.pool.take(&self.dialer).await } else { None };
        let connection = match pooled {
            Some(connection) => connection,
            // What it takes to dial is much, and not held on to while the answer is waited for.
            None => Box::pin(self.open(deadline)).await?,
        };
        Ok(Connected { pool: &self.pool, connection, deadline })
    }

    async fn open(&self, deadline: Instant) -> Result<Connection, DialError> {
        super::pool::handshake(self.dialer.dial(deadline).await?).await
    }

    /// Closes connections that have been idle for long. To be called every few seconds.
    pub fn sweep(&self) {
        self.pool.sweep();
    }
}

impl Connected<'_> {
    /// The second half of [`Upstream::send`], with at most so many bytes of an answer's body.
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
            // Its driver may be writing the request in this very moment.
            Err(_) => Err(SendError::Timeout),
        }
    }
}

impl UpstreamAnswer {
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
        serde_json::from_slice(&self.body).ok().map(|Object(error): Object<Error>| error.error_code)
    }
}

impl UpstreamAnswer {
    /// Whether its text is not what its bytes are: compressed, or in UTF-16. A secret in it would not be seen.
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

/// What is wrong with an answer that has this head, whatever its body is.
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

/// Whether two readers could see different ends of the body (RFC 9112, section 6.3): hyper lets
/// `Transfer-Encoding` win over `Content-Length`, and reads codings it does not know to the connection's end.
fn is_ambiguous(head: &Parts) -> bool {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return false };
    let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
    !chunked || head.version != Version::HTTP_11 || head.headers.contains_key(CONTENT_LENGTH)
}
