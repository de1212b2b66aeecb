//! Load generation: callers that call again as soon as they are answered, each on its own connection, all
//! on one thread.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use nix::{
    libc::linger,
    sys::socket::{setsockopt, sockopt::Linger},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    task::{JoinSet, LocalSet},
    time::timeout,
};

use crate::harness::{Answer, BOUND, Proxy};

/// Runs this future to its end on this thread.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(work))
}

/// Runs this many callers concurrently. Returns their results in any order.
pub(crate) async fn crowd<F>(callers: usize, caller: impl Fn(usize) -> F) -> Vec<F::Output>
where
    F: Future<Output: 'static> + 'static,
{
    let mut crowd = JoinSet::new();
    for number in 0..callers {
        crowd.spawn_local(caller(number));
    }
    crowd.join_all().await
}

/// Signals the end when dropped, also by a panic.
pub(crate) struct Over<'w>(pub(crate) &'w AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A client of one listener that reuses its connection while that is open.
pub(crate) struct Line {
    to: SocketAddr,
    open: Option<Open>,
}

/// An open connection.
pub(crate) struct Open {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The way a caller hangs up.
#[derive(Clone, Copy)]
pub(crate) enum Farewell {
    Close,
    Reset,
}

impl Line {
    pub(crate) fn to(proxy: &Proxy, listener: &str) -> Self {
        Self { to: address(proxy, listener), open: None }
    }

    /// Sends a request and reads the answer. A kept connection closed by the proxy is replaced: HTTP/1.1 leaves
    /// that to the client.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Answer {
        let request = request.as_ref();
        if self.open.is_some()
            && let Ok(answer) = self.ask_once(request).await
        {
            return answer;
        }
        self.open = Some(Open::dial(self.to).await);
        self.ask_once(request).await.unwrap_or_else(|error| panic!("{error}: {}", request.escape_ascii()))
    }

    async fn ask_once(&mut self, request: &[u8]) -> io::Result<Answer> {
        let mut open = self.open.take().ok_or(io::ErrorKind::NotConnected)?;
        open.write(request).await?;
        let answer = open.answer().await?;
        self.open = Some(open).filter(|_| !closes(&answer));
        Ok(answer)
    }

    /// A new connection besides the kept one.
    pub(crate) async fn dial(&self) -> Open {
        Open::dial(self.to).await
    }

    /// Sends everything at once on a new connection, and reads the answers.
    pub(crate) async fn ask_all(&self, requests: &[String]) -> Vec<Answer> {
        let mut open = self.dial().await;
        open.write(requests.concat()).await.unwrap();
        let mut answers = Vec::new();
        for _ in requests {
            answers.push(open.answer().await.unwrap());
        }
        answers
    }
}

impl Open {
    pub(crate) async fn dial(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    pub(crate) async fn half_close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    pub(crate) fn leave(self, farewell: Farewell) {
        if let Farewell::Reset = farewell {
            // With a linger time of zero the socket sends RST instead of FIN.
            setsockopt(&self.stream, Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
        }
    }

    /// Reads one answer. Fails if the connection ends before it is complete.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let end = loop {
            match self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.read_more().await?,
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut answer = Answer::of_head(&head);
        let length = answer.all("content-length").next().map_or(0, |length| length.parse().unwrap());
        while self.read.len() < length {
            self.read_more().await?;
        }
        answer.body = String::from_utf8(self.read.drain(..length).collect()).unwrap();
        Ok(answer)
    }

    /// Waits until the proxy closes the connection.
    pub(crate) async fn ended(&mut self) {
        while self.stream.read_buf(&mut self.read).await.is_ok_and(|count| count > 0) {
            self.read.clear();
        }
    }

    async fn read_more(&mut self) -> io::Result<()> {
        let read = timeout(BOUND, self.stream.read_buf(&mut self.read)).await;
        match read.unwrap_or_else(|_| panic!("no answer within {BOUND:?}"))? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

pub(crate) fn address(proxy: &Proxy, listener: &str) -> SocketAddr {
    proxy.address(listener).parse().unwrap()
}

fn closes(answer: &Answer) -> bool {
    answer.all("connection").any(|value| value == "close")
}

/// Response times.
#[derive(Default)]
pub(crate) struct Took(Vec<Duration>);

impl Took {
    /// Adds the time since then.
    pub(crate) fn since(&mut self, start: Instant) {
        self.0.push(start.elapsed());
    }

    pub(crate) fn of_all(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<Duration> = parts.into_iter().flat_map(|part| part.0).collect();
        all.sort_unstable();
        Self(all)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The 99th percentile as a multiple of another one.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        self.at(99).as_secs_f64() / other.at(99).as_secs_f64()
    }

    fn at(&self, percent: usize) -> Duration {
        self.0.get(self.0.len() * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = self.0.last().copied().unwrap_or_default();
        write!(f, "p50 {:.1?} p99 {:.1?} max {max:.1?}", self.at(50), self.at(99))
    }
}
