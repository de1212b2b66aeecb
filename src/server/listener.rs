//! Who may connect? Sockets, and the loop that accepts from them.
//!
//! A socket's own kind of proof is read here, once a connection: the address, the user at the other end, the
//! certificate.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream},
    sync::Semaphore,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::Serving,
    owner,
    tls::{self, Accepted},
};
use crate::{
    config::{Bind, Listener},
    identity::{Peer, PeerAddress},
};

/// A listening socket.
pub(super) struct Socket {
    kind: Kind,
    name: Arc<str>,
    bearer: bool,
    tls: bool,
    local: bool,
}

enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket, removed when this is dropped.
pub struct SocketFile(PathBuf);

enum Stream {
    Tcp(TcpStream),
    /// Before its handshake.
    Tls(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Binds what the configuration says.
    ///
    /// # Errors
    /// As the system says; also where a Unix socket is in use by another process, or its path is something else.
    pub(super) fn bind(listener: &Listener) -> io::Result<Self> {
        let kind = match &listener.bind {
            Bind::Tcp(address) => Kind::Tcp(bind_tcp(*address)?),
            Bind::Unix { path, mode } => {
                let (listener, file) = bind_unix(path, *mode)?;
                Kind::Unix(listener, file)
            }
        };
        let Listener { name, bearer, tls, .. } = listener;
        let (name, local, tls) = (Arc::clone(name), listener.bind.is_local(), tls.is_some());
        Ok(Self { kind, name, bearer: *bearer, local, tls })
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The address in the words of the configuration; the port is the one the system chose for 0.
    pub(super) fn address(&self) -> String {
        match &self.kind {
            Kind::Tcp(listener) => listener.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Kind::Unix(_, SocketFile(path)) => format!("unix:{}", path.display()),
        }
    }

    /// Accepts connections until `stop`, no more at once than `connections` has permits.
    pub(super) async fn accept(
        self,
        serving: Arc<Serving>,
        connections: Arc<Semaphore>,
        stop: CancellationToken,
    ) {
        let mut pause = FIRST_PAUSE;
        loop {
            let accepted = async {
                // Never closed, so this waits until there is a permit.
                let permit = Arc::clone(&connections).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((permit, self.next(&serving).await?))
            };
            let result = tokio::select! {
                () = stop.cancelled() => return,
                result = accepted => result,
            };
            match result {
                Ok((permit, (stream, peer))) => {
                    pause = FIRST_PAUSE;
                    let serving = Arc::clone(&serving);
                    let tasks = serving.tasks.clone();
                    tasks.spawn(async move {
                        match stream {
                            Stream::Tcp(stream) => serving.connection(stream, Arc::new(peer)).await,
                            Stream::Tls(stream) => secured(serving, stream, peer).await,
                            Stream::Unix(stream) => serving.connection(stream, Arc::new(peer)).await,
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: some will be closed soon. The loop neither ends nor spins.
                    tracing::warn!(listener = %self.name, %error, "cannot accept a connection");
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    async fn next(&self, serving: &Serving) -> io::Result<(Stream, Peer)> {
        let (stream, address) = match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // At once: the later, the more may have become of the caller.
                let asked = serving.in_force.load().callers.need_owners();
                let owner = if asked { owner::of(&stream, address) } else { None };
                let stream = if self.tls { Stream::Tls(stream) } else { Stream::Tcp(stream) };
                (stream, PeerAddress::Tcp { address, owner })
            }
            Kind::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred()?;
                (Stream::Unix(stream), PeerAddress::Unix { uid: user.uid(), gid: user.gid() })
            }
        };
        let listener = Arc::clone(&self.name);
        Ok((stream, Peer { listener, address, certificate: None, bearer: self.bearer, local: self.local }))
    }
}

/// Serves a connection once its handshake is done.
async fn secured(serving: Arc<Serving>, stream: TcpStream, peer: Peer) {
    let config = serving.in_force.load().tls.get(&peer.listener).cloned();
    let Some(config) = config else {
        tracing::error!(listener = %peer.listener, "a listener has lost its TLS, which should be impossible");
        return;
    };
    match tls::accept(stream, config, serving.limits.header_timeout).await {
        Ok(Accepted { stream, certificate }) => {
            serving.connection(stream, Arc::new(Peer { certificate, ..peer })).await;
        }
        Err(error) => tls::log_failure(&peer, &error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been replaced or removed; then there is nothing to tidy up.
        drop(fs::remove_file(&self.0));
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart need not wait for the connections of the process before.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on a Unix socket. Nobody can connect before it has its permissions.
///
/// # Errors
/// As the system says; also where another process listens there, or something else than a socket is in the way.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok((socket.listen(BACKLOG)?, SocketFile(path.to_owned())))
}

/// Removes the socket of a process that is gone. Anything else that is there is not ours to remove.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    if !meta.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else than a socket"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}

/// tokio's default of 128 drops connections in a burst.
const BACKLOG: u32 = 4096;
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
