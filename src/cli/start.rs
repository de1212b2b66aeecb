//! Obtains the threads and descriptors of a start, or reports which limit prevents it.
//!
//! Without a thread or descriptor the runtime and its libraries panic, or silently do without. Both become errors here,
//! before anything is accepted.

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

/// Creates the runtime of the first thread. Others serve requests.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// Creates a runtime that has taken over the signals, after checking that there are threads.
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

/// Ends the process if the runtime got no thread or descriptor. Dropping it would wait for threads that do not exist.
#[expect(clippy::exit, reason = "nothing is accepted yet, and unwinding would hang")]
fn end(panic: &PanicHookInfo<'_>) {
    let cause = panic.payload_as_str().unwrap_or("unknown").to_owned();
    print_error(&anyhow::Error::msg(cause).context("cannot start the runtime").context(LIMITS));
    exit(1)
}

/// Checks that as many threads can exist as are started later, because some libraries do not report a failure.
fn more_threads() -> io::Result<()> {
    let threads_before = count_threads();
    let mut cached = Vec::new();
    // One for each core, and one for handshakes.
    let serving = available_parallelism().map_or(1, usize::from) + 1;
    for _ in 0..LATER_THREADS + serving {
        let (go, wait) = mpsc::channel::<()>();
        // Dropping `go` ends it.
        let thread = thread::Builder::new().spawn(move || wait.recv().is_ok())?;
        cached.push((go, thread));
    }
    for (go, thread) in cached {
        drop(go);
        drop(thread.join());
    }
    // They count until the system has cleaned up.
    let end = Instant::now() + EXIT_TIMEOUT;
    while count_threads() > threads_before && Instant::now() < end {
        sleep(EXIT_TIMEOUT / 100);
    }
    Ok(())
}

fn count_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// The threads besides those that serve: the start, four for name resolution and files, the freeze file, two for file
/// notifications, and systemd.
const LATER_THREADS: usize = 9;
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);
pub(super) const LIMITS: &str = "too few threads or descriptors for this process: check `ulimit -u` and `ulimit -n`, \
                      systemd's TasksMax= and LimitNOFILE=, and the container's process limit";
