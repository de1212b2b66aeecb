//! Binds listening sockets, or takes inherited ones.
//!
//! Nobody can connect to a Unix socket before its permissions are set, and files of others are never removed.

use std::{
    fs, io,
    net::SocketAddr,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use socket2::{Domain, SockAddr, Type};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use super::{inherited::Inherited, listening::Kind};
use crate::config::{Bind, Listener};

/// A listening socket.
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) name: Arc<str>,
    pub(super) bearer: bool,
    pub(super) tls: bool,
    /// Whether only this machine can reach it.
    pub(super) local: bool,
    /// The file, if it is a Unix socket bound here.
    pub(super) file: Option<SocketFile>,
    /// Whether it is inherited, and so outlives this process.
    pub(super) inherited: bool,
}

/// The file of a Unix socket, removed on drop.
pub struct SocketFile {
    pub(super) path: PathBuf,
    /// Its permissions.
    pub(super) mode: u32,
    /// Its device and inode, to tell it from another process's file. As long as the socket is open, the inode is not reused.
    pub(super) made: (u64, u64),
}

impl Socket {
    /// Returns the listener's name and address, with the port that the system chose.
    pub(super) fn named(&self) -> (Arc<str>, String) {
        (Arc::clone(&self.name), self.kind.address())
    }

    /// Binds a listener's socket, or takes the inherited one.
    ///
    /// # Errors
    /// The system's error; or another process uses the Unix socket, its path is not a socket, or the inherited socket is missing
    /// or of another kind than configured.
    pub(super) fn bind(listener: &Listener, inherited: &mut Inherited) -> io::Result<Self> {
        let (kind, file) = match &listener.bind {
            Bind::Tcp(address) => (Kind::Tcp(bind_tcp(*address)?), None),
            Bind::Unix { path, mode } => {
                let (listener, file) = bind_unix(path, *mode)?;
                (Kind::Unix(listener), Some(file))
            }
            Bind::Systemd(name) => (inherited.take(name)?, None),
        };
        let Listener { name, bearer, tls, may_be_remote, .. } = listener;
        let (passed, local) = (matches!(listener.bind, Bind::Systemd(_)), kind.is_local()?);
        if passed && tls.is_some() && matches!(kind, Kind::Unix(_)) {
            return Err(io::Error::other("it is a Unix socket: `tls` requires TCP"));
        }
        if passed && !local && !may_be_remote {
            let message = format!("other machines can reach {}: {PREPARE}", kind.address());
            return Err(io::Error::other(message));
        }
        kind.bound_buffers()?;
        let (name, bearer, tls) = (Arc::clone(name), *bearer, tls.is_some());
        Ok(Self { kind, name, bearer, tls, local, file, inherited: passed })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If it was replaced or removed, there is nothing to clean up.
        if identity(&self.path).is_ok_and(|found| found == self.made) {
            drop(fs::remove_file(&self.path));
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart need not wait for connections of the previous process.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens on a Unix socket. Nobody can connect before it has its permissions.
///
/// # Errors
/// The system's error; or another process listens there, or the path is not a socket.
pub fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile { path: path.to_owned(), mode, made: identity(path)? };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok((socket.listen(BACKLOG)?, file))
}

pub(super) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let meta = fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

/// Removes the socket of a process that is gone. Never removes anything else.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let kind = meta.file_type();
    if !kind.is_socket() {
        let found = match (kind.is_dir(), kind.is_symlink(), kind.is_file()) {
            (true, ..) => "it is a directory",
            (_, true, _) => "it is a symbolic link",
            (.., true) => "it is a file",
            (false, false, false) => "it is not a socket",
        };
        let message = format!("{found}: remove it, or choose another path");
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    // A process whose queue is full is alive, and not waited for.
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match socket.connect(&SockAddr::unix(path)?).map_err(|error| (error.kind(), error)) {
        Err((io::ErrorKind::ConnectionRefused, _)) => fs::remove_file(path),
        // Another process may have removed it.
        Err((io::ErrorKind::NotFound, _)) => Ok(()),
        Err((io::ErrorKind::PermissionDenied, error)) => {
            let (owner, mode) = (meta.uid(), meta.mode() & 0o777);
            let message = format!(
                "permission denied: a socket of user {owner} with mode {mode:04o} exists, and may be in use \
                 ({error}): remove it, or run as that user"
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }
        Ok(()) | Err((io::ErrorKind::WouldBlock, _)) => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"))
        }
        Err((kind, error)) => {
            Err(io::Error::new(kind, format!("the existing socket accepts no connection: {error}")))
        }
    }
}

/// tokio's default of 128 drops connections in a burst.
const BACKLOG: u32 = 4096;
const PREPARE: &str =
    "add `hosts` to the listener, and `tls` that requires client certificates, or `unsafe_listen: true`";
