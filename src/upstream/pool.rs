//! Idle connections. A small stack of them, the warmest on top.
//!
//! hyper-util's client has a pool too, but it costs 2 µs a request more and does not tell what the retry stage
//! must know: whether the connection was reused, and whether a byte was written or read.

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

/// An open HTTP/1.1 connection. Its driver ends when this is dropped.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    counts: Arc<ByteCounts>,
    authorities: Option<[u8; 32]>,
    reused: bool,
    read_before: u64,
}

impl Pool {
    /// Keeps at most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { idle: Mutex::default(), most }
    }

    /// The connection that was used last and is still open, if there is one. Those whose other end is trusted no more are
    /// closed.
    pub(super) async fn take(&self, dialer: &Dialer) -> Option<Connection> {
        loop {
            let IdleConnection { mut connection, since } = self.idle.lock().pop()?;
            if !dialer.trusts(connection.authorities.as_ref()) {
                continue;
            }
            // `ready` also lets the driver notice what upstream did while the connection was idle.
            if since.elapsed() < IDLE_TIMEOUT && connection.sender.ready().await.is_ok() {
                connection.reused = true;
                return Some(connection);
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
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
    /// Says that a request is about to start, for [`Self::judge`]. From here on bytes that came before it are no
    /// answer.
    pub(super) fn begin_request(&mut self) {
        self.read_before = self.counts.read();
        self.counts.expect_silence();
    }

    /// What the failure of a request means.
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
        // A request is a head, and so one buffer.
        .writev(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| DialError::Useless)?;
    // Errors of the driver also reach the request that is in flight, and are judged there.
    #[expect(clippy::disallowed_methods, reason = "the driver ends when its sender is dropped")]
    drop(tokio::spawn(driver));
    Ok(Connection { sender, counts, authorities, reused: false, read_before: 0 })
}

/// Shorter than any gateway's own: a connection upstream is about to close costs a repeated call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// The most idle connections that are kept to one endpoint: as many as there are calls at once, unless that was raised.
/// Those in excess of this still get connections, and pay for them, above all with TLS.
pub const MAX_IDLE: usize = 1024;
/// The largest head of an answer, in bytes. It has at most 100 headers, which is what hyper allows by itself.
const MAX_HEAD: usize = 32 * 1024;
