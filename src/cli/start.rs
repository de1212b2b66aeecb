//! Threads and descriptors needed at startup. Threads and descriptors, or an error that says which limit stands in the
//! way.
//!
//! The runtime and the libraries under it panic where they get no thread or no descriptor, or do without and say
//! nothing. Both are made errors here, while nothing has been accepted.

use std::{
    io,
    panic::{self, PanicHookInfo},
    process::exit,
    sync::mpsc,
    thread::{self, available_parallelism, sleep},
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

use super::{
    errors::print_error,
    signals::{ReopenSignal, StartupSignals, Stop},
};

/// The runtime of the process's first thread. Requests are served by others.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// A runtime that has taken over the signals, where there are threads to be had.
pub(super) fn runtime_with(early: StartupSignals) -> anyhow::Result<(Runtime, Stop, ReopenSignal)> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(end));
    let started = (|| {
        let runtime = runtime().context(LIMITS)?;
        more_threads().context("cannot start enough threads").context(LIMITS)?;
        let inside = runtime.enter();
        let (stop, hang_up) = early.hand_over().context("cannot listen for signals")?;
        drop(inside);
        Ok((runtime, stop, hang_up))
    })();
    drop(panic::take_hook());
    panic::set_hook(before);
    started
}

/// The runtime got no thread or no descriptor. It cannot be dropped either: it would wait for threads that never were.
#[expect(clippy::exit, reason = "nothing was accepted, and unwinding would hang")]
fn end(panic: &PanicHookInfo<'_>) {
    let cause = panic.payload_as_str().unwrap_or("unknown").to_owned();
    print_error(&anyhow::Error::msg(cause).context("cannot start the runtime").context(LIMITS));
    exit(1)
}

/// Whether there can be as many threads at once as are started later, by libraries that tell nobody when they get none.
fn more_threads() -> io::Result<()> {
    let threads_before = count_threads();
    let mut cached = Vec::new();
    // One for each core, and one for handshakes.
    let serving = available_parallelism().map_or(1, usize::from) + 1;
    for _ in 0..LATER_THREADS + serving {
        let (go, wait) = mpsc::channel::<()>();
        // Ended by `go` being dropped.
        let thread = thread::Builder::new().spawn(move || wait.recv().is_ok())?;
        cached.push((go, thread));
    }
    for (go, thread) in cached {
        drop(go);
        drop(thread.join());
    }
    // They are counted until the system has tidied up after them.
    let end = Instant::now() + EXIT_TIMEOUT;
    while count_threads() > threads_before && Instant::now() < end {
        sleep(EXIT_TIMEOUT / 100);
    }
    Ok(())
}

fn count_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Besides those that serve: one that starts, four that wait for name servers and files, one that looks for the freeze file,
/// two that are told of changes, and one that tells systemd.
const LATER_THREADS: usize = 9;
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);
pub(super) const LIMITS: &str = "too few threads or descriptors for this process: check `ulimit -u` and `ulimit -n`, \
                      systemd's TasksMax= and LimitNOFILE=, and the container's process limit";
