//! Is there room for a line, and how does it get out? A file or a pipe, which is never waited for.
//!
//! Space in a file is allocated ahead of the lines, and a pipe is asked whether it takes a whole line: so it is
//! known before a call acts that its line can be written. A line that cannot be is kept and tried again before
//! the next one, in order.
//!
//! A line is one `write(2)`, and not synced. It outlives the process from then on, however that ends; it does not
//! outlive the machine's power before the kernel has written it to the disk.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{FileTypeExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use nix::{
    fcntl::{FallocateFlags, fallocate},
    libc::O_NONBLOCK,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::resource::{Resource, getrlimit},
};

/// What is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The process's standard output.
    Stdout,
    /// A file, created with mode 0600 and appended to.
    File(PathBuf),
}

/// The sink's file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit file {path}")]
pub struct OpenError {
    path: Box<Path>,
    source: io::Error,
}

/// An open target, and the lines that wait for room in it.
pub(super) struct Output {
    target: Target,
    file: File,
    regular: bool,
    ours: bool,
    /// How large a file of this process may become.
    largest: u64,
    /// Bytes of the file up to which space is allocated.
    allocated: u64,
    written: u64,
    waiting: VecDeque<Vec<u8>>,
    /// Bytes of the first line that waits which are written already.
    begun: usize,
    dropped: u64,
    /// The last write was an error.
    failed: bool,
    complained: bool,
}

impl Output {
    pub(super) fn open(target: Target) -> Result<Self, OpenError> {
        let opened = match &target {
            Target::Stdout => stdout(),
            // A named pipe is not waited for either: without a reader it cannot be opened.
            Target::File(path) => {
                let mut options = OpenOptions::new();
                options.append(true).create(true).mode(0o600).custom_flags(O_NONBLOCK).open(path)
            }
        };
        let path = match &target {
            Target::Stdout => Path::new("/dev/stdout"),
            Target::File(path) => path,
        };
        let failed = |source| OpenError { path: path.into(), source };
        let file = opened.map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let regular = meta.is_file();
        Ok(Self {
            regular,
            ours: regular && is_locked_for_us(&file),
            // Some file systems do not look at it when space is allocated.
            largest: getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(now, _)| now),
            allocated: 0,
            written: meta.len(),
            target,
            file,
            waiting: VecDeque::new(),
            begun: 0,
            dropped: 0,
            failed: false,
            complained: false,
        })
    }

    /// Opens the file anew. What waits will be written to that one, also what has begun in the other.
    pub(super) fn reopen(&mut self) -> Result<(), OpenError> {
        if matches!(self.target, Target::File(_)) {
            let mut fresh = Self::open(self.target.clone())?;
            self.flush();
            fresh.dropped = self.dropped;
            fresh.waiting = std::mem::take(&mut self.waiting);
            *self = fresh;
        }
        Ok(())
    }

    /// The path of the file, where it is one that keeps what was written.
    pub(super) fn kept_at(&self) -> Option<&Path> {
        match &self.target {
            Target::File(path) if self.regular => Some(path),
            Target::File(_) | Target::Stdout => None,
        }
    }

    /// Whether no other process writes to the file, as far as the file system can tell. One that has just ended, or
    /// that is being started, may hold on to it for a moment.
    pub(super) fn is_ours(&mut self) -> bool {
        for _ in 0..LOCK_TRIES {
            if self.ours || !self.regular {
                break;
            }
            sleep(LOCK_PAUSE);
            self.ours = is_locked_for_us(&self.file);
        }
        self.ours
    }

    /// Whether there is no room because a reader has not caught up. It may; a full disk does not, nor does a pipe
    /// that nobody reads.
    pub(super) fn is_behind(&self) -> bool {
        let broken = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        !self.regular && !self.failed && self.events().is_some_and(|events| !events.intersects(broken))
    }

    /// Whether nothing waits, and so many bytes would be written at once.
    pub(super) fn has_room(&mut self, bytes: u64) -> bool {
        self.flush();
        if !self.waiting.is_empty() {
            return false;
        }
        if !self.regular {
            return self.writable();
        }
        self.has_space(bytes)
    }

    /// Writes the line once there is room for it, and after those that wait.
    pub(super) fn append(&mut self, line: Vec<u8>) {
        self.flush();
        if self.waiting.len() >= MAX_WAITING {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back(line);
        self.flush();
    }

    /// Writes the line now or not at all. Says which. Where a part of it was written the rest comes with what waits,
    /// and nothing is left of it to be written again.
    pub(super) fn write_now(&mut self, line: &mut Vec<u8>) -> bool {
        self.flush();
        if !self.waiting.is_empty() {
            return false;
        }
        let written = self.put(line);
        if written == line.len() {
            return true;
        }
        if written > 0 {
            self.begun = written;
            self.waiting.push_front(std::mem::take(line));
        }
        false
    }

    /// Writes what waits, in order, until there is no more room.
    pub(super) fn flush(&mut self) {
        while let Some(line) = self.waiting.pop_front() {
            self.begun += self.put(line.get(self.begun..).unwrap_or_default());
            if self.begun < line.len() {
                self.waiting.push_front(line);
                return;
            }
            self.begun = 0;
        }
    }

    /// Lines that were lost.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many lines wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Says once, in the log, what is wrong; again only after a line was written in between.
    pub(super) fn complain(&mut self, what: &str) {
        if !self.complained {
            self.complained = true;
            tracing::error!(
                fd = self.file.as_raw_fd(),
                waiting = self.waiting.len(),
                "the audit sink {what}"
            );
        }
    }

    /// Writes as much of the line as there is room for, and says how much.
    fn put(&mut self, line: &[u8]) -> usize {
        if line.is_empty() || !self.regular && !self.writable() {
            return 0;
        }
        // Half a line on a full disk would stay half a line.
        if self.regular && !self.has_space(line.len() as u64) {
            self.complain("has no space left");
            return 0;
        }
        let result = self.file.write(line);
        self.failed = result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
        match result {
            Ok(written) => {
                self.written += written as u64;
                self.complained &= written < line.len();
                written
            }
            Err(_) if !self.failed => 0,
            Err(error) => {
                self.complain(&format!("cannot be written to: {error}"));
                0
            }
        }
    }

    /// Whether so many bytes more can be written to the file; allocates space for them.
    fn has_space(&mut self, bytes: u64) -> bool {
        if self.written + bytes <= self.allocated {
            return true;
        }
        // Somebody else may have written to it, or cut it off.
        self.written = self.file.metadata().map_or(self.written, |meta| meta.len());
        let needed = self.written + bytes;
        self.allocate(needed + ALLOCATE_AHEAD) || self.allocate(needed)
    }

    /// Allocates space for the file to grow to `end`, without changing its length.
    fn allocate(&mut self, end: u64) -> bool {
        if end > self.largest {
            return false;
        }
        let (Ok(from), Ok(length)) = (i64::try_from(self.written), i64::try_from(end - self.written)) else {
            return false;
        };
        match fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, length) {
            Ok(()) => self.allocated = end,
            // The file system cannot allocate ahead: the write itself has to tell.
            Err(nix::Error::EOPNOTSUPP | nix::Error::ENOSYS) => self.allocated = self.largest,
            Err(_) => return false,
        }
        true
    }

    /// A pipe that polls writable has room for a whole line; a socket or terminal for some of it. One in error as
    /// well has no reader left.
    fn writable(&self) -> bool {
        self.events() == Some(PollFlags::POLLOUT)
    }

    fn events(&self) -> Option<PollFlags> {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO).ok()?;
        fds.first().and_then(PollFd::revents)
    }
}

/// Standard output. A pipe is opened anew, so that a write to it never waits: another writer, such as our own log,
/// may take the room that was there a moment ago. What cannot be opened anew is only asked before each write.
fn stdout() -> io::Result<File> {
    let inherited = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    if !inherited.metadata()?.file_type().is_fifo() {
        return Ok(inherited);
    }
    let path = format!("/proc/self/fd/{}", inherited.as_raw_fd());
    let anew = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path);
    Ok(anew.unwrap_or(inherited))
}

/// Locks the file for as long as it is open. Where nothing can be locked, nobody else is known of.
fn is_locked_for_us(file: &File) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

const LOCK_PAUSE: Duration = Duration::from_millis(10);
const LOCK_TRIES: u32 = 20;
/// Space is allocated in steps of this many bytes, so that it is rarely asked for.
const ALLOCATE_AHEAD: u64 = 1024 * 1024;
/// As many lines wait for room at most; those of refused calls are dropped beyond it, and counted.
pub(super) const MAX_WAITING: usize = 4096;

#[cfg(test)]
impl Output {
    /// Of a pipe.
    pub(super) fn pipe(writer: File) -> Self {
        let mut output = Self::open(Target::File("/dev/null".into())).unwrap();
        output.file = writer;
        output
    }
}
