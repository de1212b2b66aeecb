//! Sockets inherited from the service manager. Listening sockets that systemd, or whoever starts the process, keeps
//! open over restarts, so that no caller is refused meanwhile: the protocol of `sd_listen_fds(3)`.
//!
//! They are asked for by name. What a socket is, it says itself: nothing is believed of a name.

use std::{env, io};

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use tokio::net::{TcpListener, UnixListener};

use super::listening::Kind;

/// The sockets that were passed and not taken yet.
pub struct Inherited {
    sockets: ListenFd,
    /// A name each; `None` where it was taken.
    names: Vec<Option<String>>,
}

impl Inherited {
    /// Those that the environment tells of: `LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`. To be called once, and before
    /// there is a second thread: it changes the environment.
    pub fn of_this_process() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        // As `sd_listen_fds_with_names(3)` calls one without a name.
        let names = (0..sockets.len()).map(|_| Some(names.next().unwrap_or("unknown").to_owned())).collect();
        Self { sockets, names }
    }

    /// No sockets.
    pub fn none() -> Self {
        Self { sockets: ListenFd::empty(), names: Vec::new() }
    }

    /// Those that nobody took.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().map(String::as_str)
    }

    /// Takes the one with this name.
    pub(super) fn take(&mut self, name: &str) -> io::Result<Kind> {
        let mut found = self.names.iter().enumerate().filter(|(_, own)| own.as_deref() == Some(name));
        let index = match (found.next(), found.next()) {
            (Some((index, _)), None) => index,
            (Some(_), Some(_)) => {
                let message = format!("several sockets are named {name}: give each its own unit");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            (None, _) => return Err(io::Error::new(io::ErrorKind::NotFound, self.missing())),
        };
        let kind = self.at(index)?;
        if let Some(name) = self.names.get_mut(index) {
            *name = None;
        }
        Ok(kind)
    }

    fn at(&mut self, index: usize) -> io::Result<Kind> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        if let Ok(listener) = self.sockets.take_tcp_listener(index) {
            let listener = listener.ok_or_else(gone)?;
            listens(getsockopt(&listener, AcceptConn))?;
            listener.set_nonblocking(true)?;
            return Ok(Kind::Tcp(TcpListener::from_std(listener)?));
        }
        let listener = self.sockets.take_unix_listener(index).map_err(|_| wrong_kind())?.ok_or_else(gone)?;
        listens(getsockopt(&listener, AcceptConn))?;
        listener.set_nonblocking(true)?;
        Ok(Kind::Unix(UnixListener::from_std(listener)?))
    }

    fn missing(&self) -> String {
        let left: Vec<&str> = self.left().collect();
        match left.as_slice() {
            [] => "no socket was passed to this process: start its socket unit".into(),
            left => format!("no socket with this name was passed, only {}", left.join(", ")),
        }
    }
}

fn listens(accepts: nix::Result<bool>) -> io::Result<()> {
    if accepts? { Ok(()) } else { Err(wrong_kind()) }
}

fn wrong_kind() -> io::Error {
    let message = "not a listening TCP or Unix stream socket: \
                   its unit needs `ListenStream=` and `Accept=no`";
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
