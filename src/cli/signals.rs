//! Signal handling.
//!
//! Two kinds of handlers follow each other without a gap. Before there is a runtime, a signal to stop ends the process at
//! once, which has accepted nothing so far; from then on the runtime delivers signals. Without a handler, the first process
//! of a container would ignore them.

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

/// The signal handlers of the start.
pub(super) struct StartupSignals {
    /// Whether a signal to stop ends the process at once.
    ends: Arc<AtomicBool>,
    /// Whether SIGHUP was received.
    hung_up: Arc<AtomicBool>,
}

impl StartupSignals {
    /// Installs the handlers for all threads.
    pub(super) fn install() -> io::Result<Self> {
        let early = Self { ends: Arc::new(AtomicBool::new(true)), hung_up: Arc::default() };
        for stop in [SIGTERM, SIGINT] {
            flag::register_conditional_shutdown(stop, 0, Arc::clone(&early.ends))?;
        }
        flag::register(SIGHUP, Arc::clone(&early.hung_up))?;
        // With SIGXFSZ caught, exceeding the file size limit is a write error. Otherwise it would end the process.
        flag::register(SIGXFSZ, Arc::<AtomicBool>::default())?;
        Ok(early)
    }

    /// Hands over to the runtime's handlers. To be called inside the runtime.
    pub(super) fn hand_over(self) -> io::Result<(Stop, ReopenSignal)> {
        let (stop, hang_up) = (Stop::new()?, signal(SignalKind::hangup())?);
        self.ends.store(false, SeqCst);
        Ok((stop, ReopenSignal { signal: hang_up, early: self.hung_up.load(SeqCst) }))
    }
}

/// The signals that ask a process to stop, caught from its creation on.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal, and returns its name.
    pub(super) async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// SIGHUP, which asks to reload and reopen.
pub(super) struct ReopenSignal {
    signal: Signal,
    /// Whether it was received before the runtime started.
    early: bool,
}

impl ReopenSignal {
    /// Waits for the next one.
    pub(super) async fn asked(&mut self) {
        if !std::mem::take(&mut self.early) {
            self.signal.recv().await;
        }
    }
}
