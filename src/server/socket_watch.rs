//! Watches the file of a Unix socket. If it is removed, replaced or renamed, callers cannot find the socket, and the socket
//! itself does not notice.
//!
//! The file is polled. When it is lost the socket is bound again; until that succeeds, probes and `/status` report it.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::UnixListener, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Health, SocketFile,
    accept::Contexts,
    bind_unix,
    listening::Kind,
    socket::{Socket, identity},
};
use crate::sandbox::{self, Restriction};

/// The path and identity of a socket's file.
pub struct SocketWatch {
    path: PathBuf,
    mode: u32,
    made: (u64, u64),
}

impl SocketFile {
    /// Returns the watch of this file.
    pub fn socket_watch(&self) -> SocketWatch {
        SocketWatch { path: self.path.clone(), mode: self.mode, made: self.made }
    }
}

impl SocketWatch {
    /// Returns when the file was lost, with the socket that was bound in its place. `of_callers` says whether readiness
    /// depends on it.
    pub async fn lost(&self, health: &Health, of_callers: bool) -> (UnixListener, SocketFile) {
        let address: Arc<str> = format!("unix:{}", self.path.display()).into();
        loop {
            sleep(POLL_INTERVAL).await;
            if identity(&self.path).is_ok_and(|found| found == self.made) {
                // It may have been moved away and back.
                health.socket(&address, of_callers, None);
                continue;
            }
            match bind_unix(&self.path, self.mode) {
                Ok(bound) => {
                    health.socket(&address, of_callers, None);
                    tracing::warn!(%address, "a socket file was removed or replaced: bound again");
                    return bound;
                }
                Err(error) => {
                    let problem = format!(
                        "its file was removed or replaced, and cannot be recreated: {}",
                        error_text(&error)
                    );
                    if health.socket(&address, of_callers, Some(problem.clone())) {
                        tracing::error!(%address, problem, "a socket is unreachable");
                    }
                }
            }
        }
    }
}

fn error_text(error: &io::Error) -> String {
    let confined = sandbox::current().is_some_and(|sandbox| {
        sandbox.measures().into_iter().any(|(name, state)| name == "landlock" && *state == Restriction::On)
    });
    // Landlock denies a folder that is not the one of the start.
    if confined && error.kind() == io::ErrorKind::PermissionDenied {
        return format!("{error}; if its directory was replaced, the sandbox blocks it: restart");
    }
    error.to_string()
}

/// Accepts until `stop`, also after the socket's file was lost.
pub(super) async fn accept_until_stopped(
    mut socket: Socket,
    contexts: Arc<Contexts>,
    stop: CancellationToken,
    health: Health,
) {
    loop {
        let socket_watch = socket.file.as_ref().map(SocketFile::socket_watch);
        let (name, this_one) = (Arc::clone(&socket.name), stop.child_token());
        let (bearer, tls, local) = (socket.bearer, socket.tls, socket.local);
        let accepting = contexts.tasks.spawn(socket.accept(Arc::clone(&contexts), this_one.clone()));
        let anew = async {
            match &socket_watch {
                Some(socket_watch) => socket_watch.lost(&health, true).await,
                None => std::future::pending().await,
            }
        };
        let (listener, file) = tokio::select! {
            () = stop.cancelled() => return drop(accepting.await),
            anew = anew => anew,
        };
        // Connections in its queue are still served.
        this_one.cancel();
        let (kind, file) = (Kind::Unix(listener), Some(file));
        socket = Socket { kind, name, bearer, tls, local, file, inherited: false };
    }
}

/// How often the file is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
