//! The accept loop: turns every kind of listening socket into connections with a peer that the kernel vouches for.
//!
//! Whatever identifies a caller before its first byte is determined here, once per connection: its address, its user id.
//! `socket` binds; `limiter` bounds the number of connections.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpStream, UnixStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    caller_stream::CallerStream,
    connection::Connection,
    context::ListenerContext,
    groups,
    limiter::{ConnectionLimiter, Permit, WorkerLoad},
    listening::{Kind, SENT},
    owner,
    socket::Socket,
    tls,
};
use crate::{
    identity::{Peer, PeerAddress},
    log::LIMITED,
};

/// The contexts of a listener, one per worker.
pub(super) struct Contexts {
    /// Owns the accept loops.
    pub(super) tasks: TaskTracker,
    pub(super) limiter: Arc<ConnectionLimiter>,
    pub(super) of_workers: Vec<Arc<ListenerContext>>,
}

/// A connection as the system hands it over.
enum AcceptedStream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Socket {
    /// Accepts connections until `stop`, and then those that are already waiting.
    pub(super) async fn accept(self, contexts: Arc<Contexts>, stop: CancellationToken) {
        let Self { kind, name, file, inherited, .. } = self;
        let mut pause = MIN_BACKOFF;
        while let Some(accepted) = stop.run_until_cancelled(next(&kind)).await {
            contexts.take(accepted, &name, &mut pause).await;
        }
        if inherited {
            // The socket stays open elsewhere, so they wait for the next process.
            return;
        }
        // From here on nobody finds the socket.
        drop(file);
        kind.close_to_newcomers();
        // Closing the socket would reset the connections that the kernel has already accepted.
        while let Ok(accepted) = timeout(HANDSHAKE_GRACE, next(&kind)).await {
            contexts.take(accepted, &name, &mut pause).await;
        }
    }
}

impl Contexts {
    /// Serves an accepted connection. After an error it pauses, unless the error concerns that connection only.
    async fn take(&self, accepted: io::Result<AcceptedStream>, listener: &Arc<str>, pause: &mut Duration) {
        match accepted {
            Ok(stream) => {
                *pause = MIN_BACKOFF;
                self.serve(stream).await;
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                // Most likely out of descriptors. The loop neither ends nor spins.
                tracing::warn!(target: LIMITED, %listener, %error, "cannot accept connections");
                let made_room = self.limiter.make_room();
                sleep(*pause).await;
                *pause = if made_room { MIN_BACKOFF } else { (*pause * 2).min(MAX_BACKOFF) };
            }
        }
    }

    /// Waits for a permit and hands the connection to the worker with the fewest.
    async fn serve(&self, stream: AcceptedStream) {
        let Some(first) = self.of_workers.first() else { return };
        let Some(peer) = first.peer(&stream) else { return };
        let mut permit = self.limiter.permit().await;
        let fewest = self.of_workers.iter().min_by_key(|context| context.load.load(Relaxed));
        let context = Arc::clone(fewest.unwrap_or(first));
        permit.load = Some(WorkerLoad::of(&context.load));
        let runtime = if context.tls { context.handshakes.clone() } else { context.runtime.clone() };
        // Registers the stream with the worker's runtime instead of this one's.
        let _of_other = runtime.enter();
        let Ok(stream) = stream.moved() else { return };
        context.spawn(stream, peer, permit);
    }
}

impl AcceptedStream {
    /// Moves the connection to the current runtime.
    fn moved(self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream, address) => Self::Tcp(TcpStream::from_std(stream.into_std()?)?, address),
            Self::Unix(stream) => Self::Unix(UnixStream::from_std(stream.into_std()?)?),
        })
    }
}

impl ListenerContext {
    /// Spawns a task for the connection.
    fn spawn(self: Arc<Self>, stream: AcceptedStream, peer: Peer, permit: Permit) {
        match stream {
            AcceptedStream::Tcp(stream, _) if self.tls => {
                let (tasks, handshakes) = (self.tasks.clone(), self.handshakes.clone());
                drop(tasks.spawn_on(self.handshake(stream, peer, permit), &handshakes));
            }
            AcceptedStream::Tcp(stream, _) => self.connect(stream, Arc::new(peer), permit),
            AcceptedStream::Unix(stream) => self.connect(stream, Arc::new(peer), permit),
        }
    }

    /// Completes the TLS handshake, then hands the connection to its worker.
    async fn handshake(self: Arc<Self>, stream: TcpStream, peer: Peer, permit: Permit) {
        let Some(accepted) = tls::accept(stream, peer, &self, &permit).await else { return };
        let runtime = self.runtime.clone();
        let _of_worker = runtime.enter();
        let peer = Arc::clone(&accepted.peer);
        let Ok(stream) = accepted.stream() else { return };
        self.connect(stream, peer, permit);
    }

    /// Has the worker serve a connection that is ready for requests.
    fn connect(self: Arc<Self>, stream: impl CallerStream + Send + 'static, peer: Arc<Peer>, permit: Permit) {
        let (tasks, runtime) = (self.tasks.clone(), self.runtime.clone());
        let mut connection = Connection::new(stream, self, peer, permit);
        // `serve` borrows it, so that the task holds it only once.
        drop(tasks.spawn_on(async move { connection.serve().await }, &runtime));
    }

    /// Identifies the other end. To be called at once, before the caller can hang up.
    fn peer(&self, stream: &AcceptedStream) -> Option<Peer> {
        let address = match stream {
            AcceptedStream::Tcp(stream, address) => {
                // A connection that was reset reports that when it is read.
                drop(stream.set_nodelay(true));
                // Asked even if no caller is identified by it now: the next policy may do so, on this connection, too.
                let needed = self.in_force.load().callers.need_owners();
                let owner = owner::of(stream, *address, needed);
                PeerAddress::Tcp { address: *address, owner }
            }
            AcceptedStream::Unix(stream) => {
                // If it cannot be changed, the buffer keeps its size.
                drop(SockRef::from(stream).set_send_buffer_size(SENT));
                let user = stream.peer_cred().ok()?;
                PeerAddress::Unix { uid: user.uid(), gid: user.gid(), groups: groups::of(stream) }
            }
        };
        let listener = Arc::clone(&self.name);
        Some(Peer { listener, address, certificate: None, bearer: self.bearer, local: self.local })
    }
}

async fn next(kind: &Kind) -> io::Result<AcceptedStream> {
    Ok(match kind {
        Kind::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            AcceptedStream::Tcp(stream, address)
        }
        Kind::Unix(listener) => AcceptedStream::Unix(listener.accept().await?.0),
    })
}

/// Whether the error concerns only one connection, so that the next may be accepted at once.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        HostUnreachable,
        Interrupted,
        NetworkDown,
        NetworkUnreachable,
        TimedOut,
    ]
    .contains(&error.kind())
}

/// The time for TCP handshakes that have begun.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(20);
const MIN_BACKOFF: Duration = Duration::from_millis(10);
const MAX_BACKOFF: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_are_passed_over_at_once() {
        for (number, of_one) in [
            (nix::libc::ECONNABORTED, true),
            (nix::libc::EHOSTUNREACH, true),
            (nix::libc::EINTR, true),
            (nix::libc::EMFILE, false),
            (nix::libc::ENFILE, false),
            (nix::libc::ENOBUFS, false),
            (nix::libc::ENOMEM, false),
            (nix::libc::EPERM, false),
            (nix::libc::EINVAL, false),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(is_of_one(&error), of_one, "{error}");
        }
    }
}
