//! Signal handling.
//!
//! Two kinds of handlers, one after the other, with no moment between them: before there is a runtime, a signal to stop
//! ends the process there and then, which has accepted nothing so far; from then on the runtime passes it on. Without
//! a handler the first process of a container would not even notice.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use nix::libc::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What signals do while the configuration is read.
pub(super) struct StartupSignals {
    /// Whether a signal to stop ends the process at once.
    ends: Arc<AtomicBool>,
    /// Whether there was a SIGHUP.
    hung_up: Arc<AtomicBool>,
}

impl StartupSignals {
    /// In force from here on, in every thread.
    pub(super) fn install() -> io::Result<Self> {
        let early = Self { ends: Arc::new(AtomicBool::new(true)), hung_up: Arc::default() };
        for stop in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(stop, 0, Arc::clone(&early.ends))?;
        }
        flag::register(SIGHUP, Arc::clone(&early.hung_up))?;
        // Caught, a file that may not grow is an error of the write. Otherwise it would be the end of the process.
        flag::register(SIGXFSZ, Arc::<AtomicBool>::default())?;
        Ok(early)
    }

    /// The runtime's handlers, which take over. To be called inside it.
    pub(super) fn hand_over(self) -> io::Result<(Stop, ReopenSignal)> {
        let (stop, hang_up) = (Stop::new()?, signal(SignalKind::hangup())?);
        self.ends.store(false, SeqCst);
        Ok((stop, ReopenSignal { signal: hang_up, early: self.hung_up.load(SeqCst) }))
    }
}

/// The signals that ask a process to stop. They are caught from the moment this is made.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns the name of the next one, once there is one.
    pub(super) async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP: something was moved or changed.
pub(super) struct ReopenSignal {
    signal: Signal,
    /// There was one before the runtime.
    early: bool,
}

impl ReopenSignal {
    /// Returns when there is one.
    pub(super) async fn asked(&mut self) {
        if !std::mem::take(&mut self.early) {
            self.signal.recv().await;
        }
    }
}
