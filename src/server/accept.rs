//! The loop that accepts: every kind of listening socket becomes connections with their peer, as the kernel proves it.
//!
//! What is known of a caller before its first byte is asked here, once a connection: the address, the user at the other
//! end. How a socket comes to be is told in `socket`; how many connections there may be, in `limiter`.

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

/// A listener on all workers.
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
    /// Accepts connections until `stop`, and then those that wait already.
    pub(super) async fn accept(self, contexts: Arc<Contexts>, stop: CancellationToken) {
        let Self { kind, name, file, inherited, .. } = self;
        let mut pause = MIN_BACKOFF;
        while let Some(accepted) = stop.run_until_cancelled(next(&kind)).await {
            contexts.take(accepted, &name, &mut pause).await;
        }
        if inherited {
            // The socket stays open elsewhere: they wait for the next process.
            return;
        }
        // From here on nobody finds it.
        drop(file);
        kind.close_to_newcomers();
        // Closing the socket would reset those that the system has accepted for us.
        while let Ok(accepted) = timeout(HANDSHAKE_GRACE, next(&kind)).await {
            contexts.take(accepted, &name, &mut pause).await;
        }
    }
}

impl Contexts {
    /// Serves a connection. Where there is none, the next is tried for at once only if that one alone was at fault.
    async fn take(&self, accepted: io::Result<AcceptedStream>, listener: &Arc<str>, pause: &mut Duration) {
        match accepted {
            Ok(stream) => {
                *pause = MIN_BACKOFF;
                self.serve(stream).await;
            }
            Err(error) if is_of_one(&error) => {}
            Err(error) => {
                // Out of descriptors, most likely. The loop neither ends nor spins.
                tracing::warn!(target: LIMITED, %listener, %error, "cannot accept connections");
                let made_room = self.limiter.make_room();
                sleep(*pause).await;
                *pause = if made_room { MIN_BACKOFF } else { (*pause * 2).min(MAX_BACKOFF) };
            }
        }
    }

    /// Hands a connection to the worker that has the fewest, as soon as there may be one more.
    async fn serve(&self, stream: AcceptedStream) {
        let Some(first) = self.of_workers.first() else { return };
        let Some(peer) = first.peer(&stream) else { return };
        let mut permit = self.limiter.permit().await;
        let fewest = self.of_workers.iter().min_by_key(|context| context.load.load(Relaxed));
        let context = Arc::clone(fewest.unwrap_or(first));
        permit.load = Some(WorkerLoad::of(&context.load));
        let runtime = if context.tls { context.handshakes.clone() } else { context.runtime.clone() };
        // What is made from here on is that thread's: the stream is taken off this one's poll, and put on the other's.
        let _of_other = runtime.enter();
        let Ok(stream) = stream.moved() else { return };
        context.spawn(stream, peer, permit);
    }
}

impl AcceptedStream {
    /// The same connection on the current runtime.
    fn moved(self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(stream, address) => Self::Tcp(TcpStream::from_std(stream.into_std()?)?, address),
            Self::Unix(stream) => Self::Unix(UnixStream::from_std(stream.into_std()?)?),
        })
    }
}

impl ListenerContext {
    /// Gives a connection a task of its own.
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

    /// Hands the connection to its worker when its handshake is done.
    async fn handshake(self: Arc<Self>, stream: TcpStream, peer: Peer, permit: Permit) {
        let Some(accepted) = tls::accept(stream, peer, &self, &permit).await else { return };
        let runtime = self.runtime.clone();
        let _of_worker = runtime.enter();
        let peer = Arc::clone(&accepted.peer);
        let Ok(stream) = accepted.stream() else { return };
        self.connect(stream, peer, permit);
    }

    /// Has the worker serve what can bring requests.
    fn connect(self: Arc<Self>, stream: impl CallerStream + Send + 'static, peer: Arc<Peer>, permit: Permit) {
        let (tasks, runtime) = (self.tasks.clone(), self.runtime.clone());
        let mut connection = Connection::new(stream, self, peer, permit);
        // Borrowed by what serves it, so that it is in the task once.
        drop(tasks.spawn_on(async move { connection.serve().await }, &runtime));
    }

    /// Who is at the other end. At once: the later, the more may have become of the caller.
    fn peer(&self, stream: &AcceptedStream) -> Option<Peer> {
        let address = match stream {
            AcceptedStream::Tcp(stream, address) => {
                // One that was reset already says so when it is read from.
                drop(stream.set_nodelay(true));
                // Also where no caller is proved by that today: the next policy may, on this connection as well.
                let needed = self.in_force.load().callers.need_owners();
                let owner = owner::of(stream, *address, needed);
                PeerAddress::Tcp { address: *address, owner }
            }
            AcceptedStream::Unix(stream) => {
                // As large as it was until now, where it may not be changed.
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

/// Whether the error is one connection's, which is gone: the next one may be well.
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

/// A TCP handshake that has begun takes no longer to end.
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
