//! A running proxy whose output the test chooses, reached without reading its log.

use std::{
    io::{PipeReader, PipeWriter, pipe},
    os::{fd::AsFd, unix::net::UnixStream},
    process::{Child, Stdio},
};

use mpc_auth_proxy::testserver::{Fault, Seen};
use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Answer, Setup, Wire, wait_for};

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
    setup: Setup,
}

impl Process {
    /// Listens on `proxy.sock`, with its admin socket at `admin.sock`.
    pub(crate) fn start(setup: Setup, stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Self {
        let setup = setup
            .listeners(&["{ name: app, bind: 'unix:proxy.sock' }"])
            .section("admin: { bind: 'unix:admin.sock' }");
        let child = setup.command("run").stdout(stdout).stderr(stderr).spawn().unwrap();
        for socket in ["admin.sock", "proxy.sock"] {
            wait_for(socket, || UnixStream::connect(setup.path(socket)).ok());
        }
        Self { child, setup }
    }

    /// A connection to one of the sockets.
    pub(crate) fn dial(&self, socket: &str) -> Wire {
        Wire::new(UnixStream::connect(self.setup.path(socket)).unwrap())
    }

    /// Whether nothing listens there any more.
    pub(crate) fn is_gone(&self, socket: &str) -> bool {
        UnixStream::connect(self.setup.path(socket)).is_err()
    }

    /// Sends a request to one of the sockets, and reads the answer.
    pub(crate) fn ask(&self, socket: &str, request: &str) -> Answer {
        let mut wire = self.dial(socket);
        wire.write(request);
        wire.answer()
    }

    /// What upstream saw.
    pub(crate) fn upstream_saw(&self) -> Vec<Seen> {
        self.setup.cloud().requests()
    }

    /// Makes upstream treat every request like this.
    pub(crate) fn slow_down(&self, fault: Fault) {
        self.setup.cloud().set_faults([fault.until_cleared()]);
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and returns the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Waits for it to end by itself and returns the exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        wait_for("end of the process", || self.child.try_wait().unwrap()).code()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A pipe of the minimum size: its reader and its writer.
pub(crate) fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().unwrap();
    fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    (reader, writer)
}
