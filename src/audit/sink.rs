//! Where do the lines go, and what when they cannot?
//!
//! A request takes a [`Slot`] before it may act and spends it on its line when it is over. Taking a slot checks
//! that the line will have room: space is allocated in a file ahead of it, and a pipe is asked whether it takes
//! a whole line. So a full disk or a stuck reader refuses calls before they act, and none acts unrecorded.
//!
//! Lines are written on the request's own thread by one `write(2)` each (handing them to another thread costs
//! ten times as much). A line that cannot be written is kept and tried again before the next one, in order.

use std::{
    collections::VecDeque,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use tokio::time::{Instant, sleep};

/// Where the audit records of a process go.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Mutex<State>>,
    when_blocked: WhenBlocked,
}

/// What is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process's standard output.
    Stdout,
    /// A file, created with mode 0600 and appended to.
    File(PathBuf),
}

/// What becomes of calls while lines cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBlocked {
    /// They are refused: no call is carried out that cannot be recorded.
    Refuse,
    /// They go on; lines that find no room are counted and dropped.
    Drop,
}

/// The room of one line.
#[must_use = "a slot that is dropped loses the line it was taken for"]
pub struct Slot(());

/// The sink takes no line now.
#[derive(Debug, thiserror::Error)]
#[error("the audit sink takes no record now")]
pub struct Blocked;

/// What a sink has to say for metrics and readiness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// Lines that were lost.
    pub dropped: u64,
    /// Lines that wait for room.
    pub waiting: usize,
}

/// The sink's file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit file {path}")]
pub struct OpenError {
    path: Box<Path>,
    source: io::Error,
}

struct State {
    target: Target,
    file: File,
    regular: bool,
    /// Slots that were taken and not yet spent.
    open: usize,
    /// Bytes of the file up to which space is allocated.
    allocated: u64,
    written: u64,
    waiting: VecDeque<Vec<u8>>,
    dropped: u64,
    complained: bool,
}

impl Sink {
    /// Opens the target.
    ///
    /// # Errors
    /// Where it cannot be opened for appending.
    pub fn open(target: Target, when_blocked: WhenBlocked) -> Result<Self, OpenError> {
        let state = State::open(target)?;
        Ok(Self { shared: Arc::new(Mutex::new(state)), when_blocked })
    }

    /// Opens the file anew, after a log rotation moved it away.
    ///
    /// # Errors
    /// Where it cannot be opened; the file that is open stays in use.
    pub fn reopen(&self) -> Result<(), OpenError> {
        let mut state = self.state();
        if matches!(state.target, Target::File(_)) {
            let mut fresh = State::open(state.target.clone())?;
            state.flush();
            (fresh.open, fresh.dropped) = (state.open, state.dropped);
            fresh.waiting = std::mem::take(&mut state.waiting);
            *state = fresh;
        }
        Ok(())
    }

    /// Takes the room of one line.
    ///
    /// # Errors
    /// Where there is none, and calls are to be refused then.
    pub fn reserve(&self) -> Result<Slot, Blocked> {
        let mut state = self.state();
        state.flush();
        if self.when_blocked == WhenBlocked::Refuse && (!state.waiting.is_empty() || !state.has_room()) {
            state.complain("takes no record: calls are refused until it does");
            return Err(Blocked);
        }
        state.open += 1;
        Ok(Slot(()))
    }

    /// The same, but lets the reader of a pipe catch up first, for a moment: it may only be slow.
    ///
    /// # Errors
    /// Where there still is no room.
    pub async fn reserve_soon(&self) -> Result<Slot, Blocked> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.reserve() {
                Ok(slot) => return Ok(slot),
                Err(blocked) if self.state().regular || Instant::now() >= end => return Err(blocked),
                Err(_) => sleep(CATCH_UP).await,
            }
        }
    }

    /// Writes the line that the slot was taken for.
    #[expect(clippy::needless_pass_by_value, reason = "a slot is spent once")]
    pub fn spend(&self, slot: Slot, line: Vec<u8>) {
        let Slot(()) = slot;
        let mut state = self.state();
        state.open -= 1;
        state.append(line);
    }

    /// Writes the line of a request that was refused because it got no slot, if there is room after all.
    pub fn try_write(&self, line: Vec<u8>) {
        self.state().append(line);
    }

    /// Writes what waits, as far as there is room.
    pub fn flush(&self) {
        self.state().flush();
    }

    /// What was lost, and what waits.
    pub fn stats(&self) -> SinkStats {
        let state = self.state();
        SinkStats { dropped: state.dropped, waiting: state.waiting.len() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("when_blocked", &self.when_blocked).finish_non_exhaustive()
    }
}

impl State {
    fn open(target: Target) -> Result<Self, OpenError> {
        let opened = match &target {
            Target::Stdout => io::stdout().as_fd().try_clone_to_owned().map(File::from),
            Target::File(path) => OpenOptions::new().append(true).create(true).mode(0o600).open(path),
        };
        let path = match &target {
            Target::Stdout => Path::new("/dev/stdout"),
            Target::File(path) => path,
        };
        let failed = |source| OpenError { path: path.into(), source };
        let file = opened.map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        Ok(Self {
            regular: meta.is_file(),
            allocated: 0,
            written: meta.len(),
            target,
            file,
            open: 0,
            waiting: VecDeque::new(),
            dropped: 0,
            complained: false,
        })
    }

    /// Whether a line of any length would be written at once, besides those that slots are open for.
    fn has_room(&mut self) -> bool {
        if !self.regular {
            return self.writable();
        }
        let needed = self.written + (self.open as u64 + 1) * MAX_LINE;
        if needed <= self.allocated {
            return true;
        }
        self.allocate(needed + ALLOCATE_AHEAD) || self.allocate(needed)
    }

    /// Allocates space for the file to grow to `end`, without changing its length.
    fn allocate(&mut self, end: u64) -> bool {
        let (Ok(from), Ok(length)) = (i64::try_from(self.written), i64::try_from(end - self.written)) else {
            return false;
        };
        match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, length) {
            Ok(()) => self.allocated = end,
            // The file system cannot allocate ahead: the write itself has to tell.
            Err(nix::Error::EOPNOTSUPP | nix::Error::ENOSYS) => self.allocated = u64::MAX,
            Err(_) => return false,
        }
        true
    }

    /// A pipe that polls writable has room for a whole line; a socket or terminal for some of it.
    fn writable(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        let ready = poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n == 1);
        ready && fds.iter().all(|fd| fd.revents().is_some_and(|r| r.contains(PollFlags::POLLOUT)))
    }

    fn append(&mut self, line: Vec<u8>) {
        self.flush();
        if self.waiting.len() >= MAX_WAITING {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back(line);
        self.flush();
    }

    /// Writes what waits, in order, until there is no more room.
    fn flush(&mut self) {
        while let Some(line) = self.waiting.front() {
            if !self.regular && !self.writable() {
                return;
            }
            match self.file.write(line) {
                Ok(n) if n == line.len() => {
                    self.written += n as u64;
                    drop(self.waiting.pop_front());
                    self.complained = false;
                }
                // Half a line: the rest of it follows when there is room.
                Ok(n) => {
                    self.written += n as u64;
                    if let Some(line) = self.waiting.front_mut() {
                        line.drain(..n);
                    }
                    return;
                }
                Err(error) => {
                    self.complain(&format!("cannot be written to: {error}"));
                    return;
                }
            }
        }
    }

    /// Says once, in the log, what is wrong; again only after a line was written in between.
    fn complain(&mut self, what: &str) {
        if !self.complained {
            self.complained = true;
            tracing::error!(
                fd = self.file.as_raw_fd(),
                waiting = self.waiting.len(),
                "the audit sink {what}"
            );
        }
    }
}

/// A reader that takes longer than this is stuck.
const PATIENCE: Duration = Duration::from_millis(500);
const CATCH_UP: Duration = Duration::from_millis(2);
/// No line is longer: every field is bounded.
const MAX_LINE: u64 = 4096;
/// Space is allocated in steps of this many bytes, so that it is rarely asked for.
const ALLOCATE_AHEAD: u64 = 1024 * 1024;
/// As many lines wait for room at most; those of refused calls are dropped beyond it, and counted.
const MAX_WAITING: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn lines_are_appended_and_survive_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
        let sink = Sink::open(Target::File(path.clone()), WhenBlocked::Refuse).unwrap();
        sink.spend(sink.reserve().unwrap(), b"one\n".to_vec());
        std::fs::rename(&path, &moved).unwrap();
        sink.spend(sink.reserve().unwrap(), b"two\n".to_vec());
        let held = sink.reserve().unwrap();
        sink.reopen().unwrap();
        sink.spend(held, b"three\n".to_vec());
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn a_full_disk_refuses_slots_and_keeps_the_lines_of_open_ones() {
        let full = Target::File("/dev/full".into());
        let sink = Sink::open(full, WhenBlocked::Refuse).unwrap();
        let slot = sink.reserve().unwrap();
        sink.spend(slot, b"kept\n".to_vec());
        assert!(sink.reserve().is_err());
        assert_eq!(sink.stats(), SinkStats { dropped: 0, waiting: 1 });
    }

    #[test]
    fn when_told_to_drop_calls_go_on_and_lost_lines_are_counted() {
        let sink = Sink::open(Target::File("/dev/full".into()), WhenBlocked::Drop).unwrap();
        for _ in 0..MAX_WAITING + 3 {
            sink.spend(sink.reserve().unwrap(), b"x\n".to_vec());
        }
        assert_eq!(sink.stats(), SinkStats { dropped: 3, waiting: MAX_WAITING });
    }

    #[test]
    fn a_stuck_pipe_refuses_slots_and_recovers_in_order() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut state = State::open(Target::File("/dev/null".into())).unwrap();
        (state.file, state.regular) = (File::from(writer), false);
        let sink = Sink { shared: Arc::new(Mutex::new(state)), when_blocked: WhenBlocked::Refuse };
        let mut sent = 0;
        let line = |n: usize| format!("{n:04}{}\n", "x".repeat(1019)).into_bytes();
        while let Ok(slot) = sink.reserve() {
            sink.spend(slot, line(sent));
            sent += 1;
            assert!(sent < 10_000, "a pipe is finite");
        }
        let mut reader = File::from(reader);
        let mut read = vec![0; sent * 1024];
        reader.read_exact(&mut read[..1024 * 8]).unwrap();
        sink.spend(sink.reserve().unwrap(), line(sent));
        reader.read_exact(&mut read[1024 * 8..]).unwrap();
        for n in 0..sent {
            assert_eq!(&read[n * 1024..n * 1024 + 4], format!("{n:04}").as_bytes());
        }
        assert_eq!(sink.stats(), SinkStats::default());
    }
}
