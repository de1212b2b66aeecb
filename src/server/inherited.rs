//! Sockets inherited from the service manager (`sd_listen_fds(3)`), which keeps them open over restarts so that no caller is
//! refused meanwhile.
//!
//! They are looked up by name. Their kind is asked of the socket itself, not inferred from the name.

use std::{env, io};

use listenfd::ListenFd;
use nix::sys::socket::{getsockopt, sockopt::AcceptConn};
use tokio::net::{TcpListener, UnixListener};

use super::listening::Kind;

/// The inherited sockets.
pub struct Inherited {
    sockets: ListenFd,
    /// The name of each; `None` once it is taken.
    names: Vec<Option<String>>,
}

impl Inherited {
    /// Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`. To be called once, before there is a second thread, because it
    /// changes the environment.
    pub fn of_this_process() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let sockets = ListenFd::from_env();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        // The name that `sd_listen_fds_with_names(3)` gives to one without.
        let names = (0..sockets.len()).map(|_| Some(names.next().unwrap_or("unknown").to_owned())).collect();
        Self { sockets, names }
    }

    /// No sockets.
    pub fn none() -> Self {
        Self { sockets: ListenFd::empty(), names: Vec::new() }
    }

    /// Returns the names of those that nobody took.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.names.iter().flatten().map(String::as_str)
    }

    /// Takes the socket with this name.
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
