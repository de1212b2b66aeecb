//! The pool of idle connections: a small stack, with the most recently used on top.
//!
//! hyper-util's pool costs 2 µs more per request and does not tell what the retry stage must know: whether the connection
//! was reused, and whether a byte was written or read.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    DialError, InvalidAnswer, SendError,
    dial::Dialer,
    stream::{ByteCounts, CountingStream},
};

/// The idle connections of one upstream.
pub(super) struct Pool {
    idle: Mutex<Vec<IdleConnection>>,
    most: usize,
}

struct IdleConnection {
    connection: Connection,
    since: Instant,
}

/// An open HTTP/1.1 connection. Its driver ends when it is dropped.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    counts: Arc<ByteCounts>,
    authorities: Option<[u8; 32]>,
    reused: bool,
    read_before: u64,
}

impl Pool {
    /// Creates a pool of at most `most` connections.
    pub(super) fn new(most: usize) -> Self {
        Self { idle: Mutex::default(), most }
    }

    /// Takes the most recently used connection that is still open. Connections whose other end is no longer trusted are
    /// closed.
    pub(super) async fn take(&self, dialer: &Dialer) -> Option<Connection> {
        loop {
            let IdleConnection { mut connection, since } = self.idle.lock().pop()?;
            if !dialer.trusts(connection.authorities.as_ref()) {
                continue;
            }
            // `ready` also lets the driver notice that upstream closed an idle connection.
            if since.elapsed() < IDLE_TIMEOUT && connection.sender.ready().await.is_ok() {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Returns a connection to the pool after its answer was read to the end.
    pub(super) fn put(&self, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < self.most {
            idle.push(IdleConnection { connection, since: Instant::now() });
        }
    }

    pub(super) fn sweep(&self) {
        self.idle.lock().retain(|i| i.since.elapsed() < IDLE_TIMEOUT && !i.connection.sender.is_closed());
    }
}

impl Connection {
    /// Marks the start of a request, for [`Self::judge`]. Bytes that arrived earlier are not its answer.
    pub(super) fn begin_request(&mut self) {
        self.read_before = self.counts.read();
        self.counts.expect_silence();
    }

    /// Classifies the failure of a request.
    pub(super) fn judge(&self, error: &hyper::Error) -> SendError {
        if self.counts.wrote_nothing() {
            if self.reused { SendError::Unsent } else { SendError::Dial(DialError::Useless) }
        } else if self.counts.read() > self.read_before {
            SendError::Invalid(if error.is_incomplete_message() {
                InvalidAnswer::Cut
            } else {
                InvalidAnswer::Malformed
            })
        } else if self.reused {
            SendError::Stale
        } else {
            SendError::Closed
        }
    }
}

/// Starts HTTP on a new stream.
pub(super) async fn handshake(stream: CountingStream) -> Result<Connection, DialError> {
    let (counts, authorities) = (stream.counts(), stream.authorities());
    let (sender, driver) = Builder::new()
        .max_buf_size(MAX_HEAD)
        // A request is usually a head only, so one buffer.
        .writev(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| DialError::Useless)?;
    // The request in flight gets the driver's errors, too, and judges them.
    #[expect(clippy::disallowed_methods, reason = "the driver ends when its sender is dropped")]
    drop(tokio::spawn(driver));
    Ok(Connection { sender, counts, authorities, reused: false, read_before: 0 })
}

/// Shorter than any gateway's own time-out, because a connection that upstream closes costs a retry.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// The maximum number of idle connections per endpoint: the default of calls in flight. Calls beyond it have to open new
/// connections, which is expensive, above all with TLS.
pub const MAX_IDLE: usize = 1024;
/// The maximum head of an answer, in bytes. hyper limits it to 100 headers by itself.
const MAX_HEAD: usize = 32 * 1024;
