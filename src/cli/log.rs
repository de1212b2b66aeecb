//! Log output to standard error, as JSON or text. Standard output is for audit records.
//!
//! Nobody waits for the log: lines are queued, and a thread writes them. Without a reader, lines that do not fit into the
//! queue are lost, and their number is logged once somebody reads again. Queued lines are still written when the process
//! ends, if they are read. [`Limiter`] bounds the lines that strangers can cause. The queue is our own because
//! tracing-appender's is bounded by lines, which may be long, and does not report losses.

use std::{
    any::Any,
    backtrace::{Backtrace, BacktraceStatus},
    collections::VecDeque,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    panic::{self, PanicHookInfo},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::{Condvar, Mutex};
use tracing::Level;
use tracing_subscriber::{
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
};

use super::{errors::tell_as_log, limiter::Limiter};
use crate::{config::LogFormat, log::LIMITED};

/// The log of this process. To be kept until its end, when queued lines get a moment to be written.
#[must_use = "dropping it writes the last lines"]
pub(super) struct Log {
    lines: Lines,
    limiter: Limiter,
}

/// Starts logging for the life of the process. Panics are logged instead of printed.
pub(super) fn start(format: LogFormat, level: Level) -> io::Result<Log> {
    let terminal = io::stderr().is_terminal();
    let text = tell_as_log(format);
    let lines = Lines::default();
    // A separate handle, so that other output does not wait while the thread waits.
    let mut file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let limiter = Limiter::default();
    let (queue, limits) = (Arc::clone(&lines.0), limiter.clone());
    drop(thread::Builder::new().name("log".into()).spawn(move || queue.write_to(&mut file, &limits))?);
    let log = fmt::fmt().with_max_level(level).with_writer(lines.clone()).with_target(false);
    let started = if text {
        tracing::subscriber::set_global_default(log.with_ansi(terminal).finish().with(limiter.clone()))
    } else {
        tracing::subscriber::set_global_default(log.json().flatten_event(true).finish().with(limiter.clone()))
    };
    // Only a second call could fail.
    drop(started);
    panic::set_hook(Box::new(log_panic));
    Ok(Log { lines, limiter })
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let thread = thread::current();
    tracing::error!(
        target: LIMITED,
        place,
        thread = thread.name(),
        backtrace,
        panic = panic_message(panic.payload()),
        "this is a bug in mpc-auth-proxy"
    );
}

/// Returns the message of a panic if it is a literal. A formatted one may contain data: `slice`'s shows the text that could
/// not be cut.
fn panic_message(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("its message is withheld: it may contain data")
}

impl Drop for Log {
    fn drop(&mut self) {
        self.limiter.tell_all();
        let Self { lines: Lines(queue), .. } = self;
        let unfinished = |state: &mut State| state.writing || !state.lines.is_empty();
        let _ = queue.written.wait_while_for(&mut queue.state.lock(), unfinished, FINAL_FLUSH_TIMEOUT);
    }
}

/// Receives the lines of the subscriber.
#[derive(Clone, Default)]
struct Lines(Arc<Queue>);

/// The queued lines.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    more: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    writing: bool,
    lost: u64,
}

impl<'l> MakeWriter<'l> for Lines {
    type Writer = &'l Queue;

    fn make_writer(&'l self) -> &'l Queue {
        &self.0
    }
}

impl Write for &Queue {
    /// The subscriber writes each line in one piece.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.state.lock();
        if state.bytes + line.len() > MAX_QUEUED_BYTES {
            state.lost += 1;
        } else {
            state.bytes += line.len();
            state.lines.push_back(line.to_vec());
            self.more.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    /// Writes queued lines for ever.
    fn write_to(&self, file: &mut (impl Write + AsFd), limiter: &Limiter) {
        loop {
            let Some(line) = self.next(limiter.due()) else {
                limiter.log_summary(Instant::now());
                continue;
            };
            let result = write_line(file, &line);
            let mut state = self.state.lock();
            state.writing = false;
            state.lost += u64::from(result.is_err());
            // Reported once everything else is written, which means that somebody reads.
            let told = result.is_ok() && state.lines.is_empty() && state.lost > 0;
            let lost = if told { std::mem::take(&mut state.lost) } else { 0 };
            drop(state);
            if told {
                tracing::warn!(lines = lost, "log lines were lost: the reader is stuck");
            }
            self.written.notify_all();
        }
    }

    /// Waits for a line. `None` when something else is due, even if there are lines.
    fn next(&self, due: Option<Instant>) -> Option<Vec<u8>> {
        let left = due.map_or(IDLE_WAKEUP, |due| due.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return None;
        }
        let mut state = self.state.lock();
        let _ = self.more.wait_while_for(&mut state, |state| state.lines.is_empty(), left);
        let line = state.lines.pop_front()?;
        state.bytes -= line.len();
        state.writing = true;
        Some(line)
    }
}

/// Writes a complete line, however long that takes: only this thread waits.
fn write_line(file: &mut (impl Write + AsFd), mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match file.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => line = line.get(written..).unwrap_or_default(),
            // Another process that shares it may have made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The maximum size of the queue in bytes.
const MAX_QUEUED_BYTES: usize = 256 * 1024;
/// The interval of idle wake-ups.
const IDLE_WAKEUP: Duration = Duration::from_secs(3600);
/// How long to wait for a reader of the last lines.
const FINAL_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Runs this test in a process of its own, and returns that process's log.
    fn in_a_process_of_its_own(test: &str) -> Option<String> {
        if env::var_os(ALONE).is_some() {
            return None;
        }
        let mut tests = Command::new(env::current_exe().unwrap());
        let output = tests.args([test, "--exact", "--nocapture"]).env(ALONE, "yes").output().unwrap();
        Some(String::from_utf8(output.stderr).unwrap())
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_the_data_it_was_about() {
        let test = "cli::log::tests::a_panic_is_logged_with_its_place_and_without_the_data_it_was_about";
        let Some(log) = in_a_process_of_its_own(test) else {
            let _log = start(LogFormat::Json, Level::INFO).unwrap();
            let secret = "s3cr3t\u{e9}";
            drop(thread::Builder::new().name("one".into()).spawn(|| panic!("a plain text")).unwrap().join());
            drop(thread::spawn(move || secret.split_at(7).0.len()).join());
            panic!("the last line, {secret}");
        };
        let lines: Vec<serde_json::Value> =
            log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(lines.len(), 3, "{log}");
        assert_eq!((&lines[0]["panic"], &lines[0]["thread"]), (&"a plain text".into(), &"one".into()));
        for line in &lines {
            assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &MESSAGE.into()));
            assert!(line["place"].as_str().unwrap().contains(".rs:"), "{line}");
        }
        assert!(lines[0]["place"].as_str().unwrap().starts_with("src/cli/log.rs:"), "{}", lines[0]);
        assert!(!log.contains("s3cr3t"), "{log}");
    }

    const ALONE: &str = "MPC_AUTH_PROXY_TEST_ALONE";
    const MESSAGE: &str = "this is a bug in mpc-auth-proxy";
}
