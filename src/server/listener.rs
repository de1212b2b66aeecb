//! Who may connect? The loop that accepts, and what is known of a connection before its first byte.
//!
//! A socket's own kind of proof is read here, once a connection: the address, the user at the other end, the
//! certificate. How a socket comes to be is told in `socket`; whether there is room for one more connection, in `room`.

use std::{
    io,
    net::{self, SocketAddr},
    os::{fd::AsRawFd, unix},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpStream, UnixStream},
    task::yield_now,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Serving, has_unseen},
    groups, owner,
    room::Place,
    socket::{Door, Kind, Socket},
    tls::{self, Accepted, HandshakeError},
};
use crate::{
    identity::{Peer, PeerAddress},
    log::LIMITED,
    metrics::Cut,
};

/// A connection as the system hands it over.
enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

/// A socket that is asked without tokio, which may not have heard yet of what waits there.
enum Waiting {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener),
}

impl Socket {
    /// Accepts connections until `stop`, and then those that wait already.
    pub(super) async fn accept(self, serving: Arc<Serving>, stop: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = next(&self.kind) => accepted,
            };
            match accepted {
                Ok(stream) => {
                    pause = FIRST_PAUSE;
                    self.door.serve(stream, &serving).await;
                }
                Err(error) if is_of_one(&error) => {}
                Err(error) => {
                    // Out of descriptors, most likely. The loop neither ends nor spins.
                    let listener = &self.door.name;
                    tracing::warn!(target: LIMITED, %listener, %error, "cannot accept connections for now");
                    let made_room = serving.room.make_room();
                    drop(timeout(pause, stop.cancelled()).await);
                    pause = if made_room { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
                }
            }
        }
        self.accept_the_waiting(&serving).await;
    }

    /// Serves those that the system has accepted for us. Closing the socket would reset them.
    async fn accept_the_waiting(self, serving: &Arc<Serving>) {
        let Self { kind, door, file, inherited } = self;
        if inherited {
            // The socket stays open elsewhere: they wait for the next process.
            return;
        }
        // From here on nobody finds it.
        drop(file);
        kind.close_to_newcomers();
        let Ok(waiting) = Waiting::of(kind) else { return };
        let end = Instant::now() + UNDER_WAY;
        loop {
            match waiting.next() {
                Ok(stream) => door.serve(stream, serving).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                    sleep_until(end).await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one(&error) => {}
                Err(_) => {
                    serving.room.make_room();
                    sleep(FIRST_PAUSE).await;
                }
            }
        }
    }
}

impl Door {
    /// Gives the connection a task of its own, as soon as there is room for it.
    async fn serve(&self, stream: Stream, serving: &Arc<Serving>) {
        let Some(peer) = self.peer(&stream, serving) else { return };
        let place = serving.room.place().await;
        let serving = Arc::clone(serving);
        let (tasks, tls) = (serving.tasks.clone(), self.tls);
        tasks.spawn(async move {
            match stream {
                Stream::Tcp(stream, _) if tls => Box::pin(secured(serving, stream, peer, &place)).await,
                Stream::Tcp(stream, _) => serving.connection(stream, Arc::new(peer), &place).await,
                Stream::Unix(stream) => serving.connection(stream, Arc::new(peer), &place).await,
            }
        });
    }

    /// Who is at the other end. At once: the later, the more may have become of the caller.
    fn peer(&self, stream: &Stream, serving: &Serving) -> Option<Peer> {
        let address = match stream {
            Stream::Tcp(stream, address) => {
                // One that was reset already says so when it is read from.
                drop(stream.set_nodelay(true));
                // Also where no caller is proved by that today: the next policy may, on this connection as well.
                let needed = serving.in_force.load().callers.need_owners();
                let owner = owner::of(stream, *address, needed);
                PeerAddress::Tcp { address: *address, owner }
            }
            Stream::Unix(stream) => {
                let user = stream.peer_cred().ok()?;
                PeerAddress::Unix { uid: user.uid(), gid: user.gid(), groups: groups::of(stream) }
            }
        };
        let listener = Arc::clone(&self.name);
        Some(Peer { listener, address, certificate: None, bearer: self.bearer, local: self.local })
    }
}

/// Serves a connection once its handshake is done.
async fn secured(serving: Arc<Serving>, stream: TcpStream, peer: Peer, place: &Place) {
    let config = serving.in_force.load().tls.get(&peer.listener).cloned();
    let Some(config) = config else {
        tracing::error!(target: LIMITED, listener = %peer.listener, "a listener has lost its TLS, which should be impossible");
        return;
    };
    let socket = stream.as_raw_fd();
    let mut handshake = pin!(tls::accept(stream, config, serving.limits.header_timeout));
    let accepted = loop {
        tokio::select! {
            accepted = &mut handshake => break accepted,
            () = place.watch.until_cut() => {}
        }
        if !has_unseen(socket) {
            return serving.room.counts().cut(Cut::Crowded);
        }
        yield_now().await;
    };
    match accepted {
        Ok(Accepted { stream, certificate }) => {
            serving.connection(stream, Arc::new(Peer { certificate, ..peer }), place).await;
        }
        Err(error) => failed(&error, &peer, &serving),
    }
}

fn failed(error: &HandshakeError, peer: &Peer, serving: &Serving) {
    serving.room.counts().handshake_failed(&peer.listener, error.kind());
    tls::log_failure(peer, error);
}

async fn next(kind: &Kind) -> io::Result<Stream> {
    Ok(match kind {
        Kind::Tcp(listener) => {
            let (stream, address) = listener.accept().await?;
            Stream::Tcp(stream, address)
        }
        Kind::Unix(listener) => Stream::Unix(listener.accept().await?.0),
    })
}

impl Waiting {
    fn of(kind: Kind) -> io::Result<Self> {
        Ok(match kind {
            Kind::Tcp(listener) => Self::Tcp(listener.into_std()?),
            Kind::Unix(listener) => Self::Unix(listener.into_std()?),
        })
    }

    /// The next one; an error of its kind where none waits.
    fn next(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Stream::Tcp(TcpStream::from_std(stream)?, address)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Stream::Unix(UnixStream::from_std(stream)?)
            }
        })
    }
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
const UNDER_WAY: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
