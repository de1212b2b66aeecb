//! An open sink: whether it has room for a line, and the write itself.
//!
//! Space in a file is allocated ahead of the lines, and a pipe is asked whether it takes a whole line: so it is
//! known before a call acts that its line can be written. Nothing here waits.
//!
//! What is remembered of a file is looked at again: others truncate it, remove it and fill its disk.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    },
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FallocateFlags, FcntlArg, OFlag, fallocate, fcntl},
    libc::{O_NONBLOCK, PIPE_BUF},
    sys::{
        resource::{Resource, getrlimit},
        stat::makedev,
    },
};

use super::{
    lock::{Lock, LockHeld, lock},
    stream::StreamTarget,
    target::{OpenError, Target},
};

/// An open target.
pub(super) enum OpenTarget {
    /// What keeps what was written.
    Regular(RegularFile),
    /// A pipe, a socket, a terminal or a device.
    Stream(StreamTarget),
}

/// An open file.
pub(super) struct RegularFile {
    file: Arc<File>,
    id: FileId,
    /// `None` for standard output: whoever opened that says who writes to it.
    lock: Option<Lock>,
    /// It had a name when it was opened. One that had none cannot be removed.
    named: bool,
    /// Its length, when it was looked at last and with what was written since.
    written: u64,
    /// Bytes of the file up to which space is allocated.
    allocated: u64,
    /// The size of its blocks.
    block: u64,
    /// When it was looked at last, and its length then, as far as it was known.
    looked: (Instant, u64),
}

/// What somebody else did to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Truncated,
    Removed,
}

/// Device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId(u64, u64);

impl FileId {
    fn of(meta: &Metadata) -> Self {
        Self(meta.dev(), meta.ino())
    }

    /// Of the file at a path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|meta| Self::of(&meta))
    }
}

impl OpenTarget {
    /// Opens the target. Where another process has just been killed, its lock may be waited for.
    pub(super) fn open(target: &Target, patience: Duration) -> Result<Self, OpenError> {
        match target {
            Target::Stdout => stdout(),
            Target::File(path) => {
                let (file, meta) = open_file(path)?;
                Self::of(file, &meta, path, patience)
            }
        }
    }

    /// Opens what stands at the path now. `None` where that is the file that is `open` already.
    pub(super) fn open_anew(path: &Path, open: Option<FileId>) -> Result<Option<Self>, OpenError> {
        let (file, meta) = open_file(path)?;
        if open == Some(FileId::of(&meta)) {
            return Ok(None);
        }
        Self::of(file, &meta, path, Duration::ZERO).map(Some)
    }

    fn of(file: File, meta: &Metadata, path: &Path, patience: Duration) -> Result<Self, OpenError> {
        if !meta.is_file() {
            return Ok(Self::Stream(StreamTarget::new(file, meta)));
        }
        let lock = lock(&file, path, patience)
            .map_err(|LockHeld(holder)| OpenError::Locked { path: path.into(), holder })?;
        Ok(Self::Regular(RegularFile::new(file, meta, Some(lock))))
    }

    /// Whether so many bytes can be written now.
    pub(super) fn room(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Regular(file) => file.room(bytes),
            Self::Stream(stream) => stream.room(),
        }
    }

    /// Writes as much of the line as it takes now.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Regular(file) => file.write(line),
            Self::Stream(stream) => stream.write(line),
        }
    }

    /// How many bytes of several lines are written together. A pipe takes so many whole or not at all, and one that is small
    /// has room for no more.
    pub(super) fn at_once(&self) -> usize {
        match self {
            Self::Regular(_) => 0,
            Self::Stream(_) => PIPE_BUF,
        }
    }

    fn regular(&self) -> Option<&RegularFile> {
        if let Self::Regular(file) = self { Some(file) } else { None }
    }

    fn regular_mut(&mut self) -> Option<&mut RegularFile> {
        if let Self::Regular(file) = self { Some(file) } else { None }
    }

    /// What has a reader who can be waited for.
    pub(super) fn stream(&self) -> Option<Arc<File>> {
        match self {
            Self::Regular(_) => None,
            Self::Stream(stream) => Some(stream.file()),
        }
    }

    /// The file, where nobody has looked at it for a moment: whoever gets it looks.
    pub(super) fn due_for_recheck(&mut self, now: Instant) -> Option<Arc<File>> {
        self.regular_mut()?.due_for_recheck(now)
    }

    /// Takes what that file looks like. Says what was done to it.
    pub(super) fn observe(&mut self, file: &Arc<File>, meta: &Metadata) -> Option<Change> {
        self.regular_mut().filter(|own| Arc::ptr_eq(&own.file, file))?.observe(meta)
    }

    /// The file, where space for a line of so many bytes is allocated: it can be written by several at once, each line whole.
    pub(super) fn shared(&self, bytes: u64) -> Option<Arc<File>> {
        self.regular().filter(|file| file.has_allocated(bytes)).map(|file| Arc::clone(&file.file))
    }

    /// Takes what came of a write to that file. Says whether it is this one.
    pub(super) fn wrote(&mut self, file: &Arc<File>, written: &io::Result<usize>) -> bool {
        let own = self.regular_mut().filter(|own| Arc::ptr_eq(&own.file, file));
        own.map(|own| own.wrote(written)).is_some()
    }

    /// Gives back the space that no line has taken.
    pub(super) fn release_allocation(&mut self) {
        if let Self::Regular(file) = self {
            file.release_allocation();
        }
    }

    /// The file, where it is one that has a name.
    pub(super) fn file_id(&self) -> Option<FileId> {
        self.regular().filter(|file| file.named).map(|file| file.id)
    }

    /// The lock, where it is a file that has one.
    pub(super) fn lock(&self) -> Option<Lock> {
        self.regular()?.lock
    }
}

impl RegularFile {
    fn new(file: File, meta: &Metadata, lock: Option<Lock>) -> Self {
        Self {
            file: Arc::new(file),
            id: FileId::of(meta),
            lock,
            named: meta.nlink() > 0,
            written: meta.len(),
            allocated: 0,
            block: meta.blksize().max(1),
            looked: (Instant::now(), 0),
        }
    }

    /// Whether so many bytes more can be written; allocates space for them.
    fn room(&mut self, bytes: u64) -> io::Result<()> {
        if self.written + bytes <= self.allocated {
            return Ok(());
        }
        self.written = self.file.metadata()?.len();
        let needed = self.written + bytes;
        // Some file systems do not look at it when space is allocated.
        let largest = getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(now, _)| now);
        if needed > largest {
            return Err(io::Error::from_raw_os_error(nix::libc::EFBIG));
        }
        let upto = |end: u64| end.next_multiple_of(self.block).min(largest);
        let (most, least) = (upto(needed + ALLOCATE_AHEAD), upto(needed));
        self.allocate(most).or_else(|_| self.allocate(least))
    }

    /// Allocates space for the file to grow to `end`, without changing its length. What is allocated already is not asked
    /// for again, nor a part of its last block: where there is too little, tmpfs takes back all of what was asked for.
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        let from = self.written.max(self.allocated);
        let (Ok(start), Ok(length)) = (i64::try_from(from), i64::try_from(end.saturating_sub(from))) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        match fallocate(&*self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, start, length) {
            Ok(()) => self.allocated = end,
            // The file system cannot allocate ahead: the write itself has to tell.
            Err(nix::Error::EOPNOTSUPP | nix::Error::ENOSYS) => self.allocated = DEFAULT_BLOCK,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(line);
        self.wrote(&written);
        written
    }

    fn wrote(&mut self, written: &io::Result<usize>) {
        match written {
            Ok(written) => self.written += *written as u64,
            // Whatever was known of it is not so.
            Err(_) => self.allocated = 0,
        }
    }

    fn has_allocated(&self, bytes: u64) -> bool {
        self.allocated != DEFAULT_BLOCK && self.written + bytes <= self.allocated
    }

    /// Gives back what was allocated ahead. Where others may write, be it a thread just now, that could cut off lines.
    fn release_allocation(&mut self) {
        let allocated = std::mem::take(&mut self.allocated);
        if allocated > 0 && self.lock == Some(Lock::Held) && Arc::strong_count(&self.file) == 1 {
            drop(self.file.metadata().and_then(|meta| self.file.set_len(meta.len())));
        }
    }

    fn due_for_recheck(&mut self, now: Instant) -> Option<Arc<File>> {
        let due = now.saturating_duration_since(self.looked.0) >= RECHECK_INTERVAL;
        // While others write, its length is not known.
        (due && Arc::strong_count(&self.file) == 1).then(|| {
            self.looked = (now, self.written);
            Arc::clone(&self.file)
        })
    }

    fn observe(&mut self, meta: &Metadata) -> Option<Change> {
        let truncated = meta.len() < self.looked.1;
        if truncated {
            // What was allocated went with it.
            (self.written, self.allocated) = (meta.len(), 0);
        } else if self.written == self.looked.1 && Arc::strong_count(&self.file) == 2 {
            self.written = meta.len();
        }
        let removed = self.named && meta.nlink() == 0;
        if removed { Some(Change::Removed) } else { truncated.then_some(Change::Truncated) }
    }
}

impl Drop for RegularFile {
    fn drop(&mut self) {
        self.release_allocation();
    }
}

fn open_file(path: &Path) -> Result<(File, Metadata), OpenError> {
    // A named pipe is not waited for: without a reader it cannot be opened.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(O_NONBLOCK);
    let opened = options.open(path).and_then(|file| file.metadata().map(|meta| (file, meta)));
    opened.map_err(|source| OpenError::File { path: path.into(), source })
}

/// Standard output.
///
/// A pipe is opened anew, so that a write to it never waits: another writer, such as our own log, may take the room
/// that was there a moment ago. What cannot be opened anew is only asked before each write. A file is appended to, also
/// after it was truncated.
fn stdout() -> Result<OpenTarget, OpenError> {
    let failed = |source| OpenError::File { path: Path::new("/dev/stdout").into(), source };
    let inherited = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
    let flags = OFlag::from_bits_retain(fcntl(&inherited, FcntlArg::F_GETFL).map_err(|e| failed(e.into()))?);
    let meta = inherited.metadata().map_err(failed)?;
    let (kind, access) = (meta.file_type(), flags & OFlag::O_ACCMODE);
    if access == OFlag::O_RDONLY {
        return Err(OpenError::NoOutput("not open for writing"));
    }
    // Rust's runtime opens `/dev/null` in place of standard descriptors that are closed, for reading and writing;
    // who redirects to it with a shell, systemd or Docker opens it for writing alone.
    if kind.is_char_device() && meta.rdev() == makedev(1, 3) && access == OFlag::O_RDWR {
        return Err(OpenError::NoOutput("closed"));
    }
    if meta.is_file() {
        fcntl(&inherited, FcntlArg::F_SETFL(flags | OFlag::O_APPEND)).map_err(|e| failed(e.into()))?;
        return Ok(OpenTarget::Regular(RegularFile::new(inherited, &meta, None)));
    }
    if !kind.is_fifo() {
        return Ok(OpenTarget::Stream(StreamTarget::new(inherited, &meta)));
    }
    let path = format!("/proc/self/fd/{}", inherited.as_raw_fd());
    let anew = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path);
    Ok(OpenTarget::Stream(StreamTarget::new(anew.unwrap_or(inherited), &meta)))
}

/// What is allocated where the file system does not say.
const DEFAULT_BLOCK: u64 = u64::MAX;
/// Space is allocated so many bytes ahead, so that it is rarely asked for.
const ALLOCATE_AHEAD: u64 = 1024 * 1024;
/// A file is looked at again when it was not for so long: at each call where there are few, and at some calls in a
/// hundred where there are many.
const RECHECK_INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
impl OpenTarget {
    pub(super) fn pipe(writer: File) -> Self {
        Self::Stream(StreamTarget::pipe(writer))
    }
}
