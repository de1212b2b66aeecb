//! An open sink: reserves room for lines, and writes them.
//!
//! Space in a file is allocated in advance, and a pipe is polled for room for a whole line. So it is known before a call
//! acts that its line can be written. Nothing here waits.
//!
//! The state of a file is checked repeatedly, because others truncate it, remove it and fill its disk.

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
    /// A regular file.
    Regular(RegularFile),
    /// A pipe, a socket, a terminal or a device.
    Stream(StreamTarget),
}

/// An open file.
pub(super) struct RegularFile {
    file: Arc<File>,
    id: FileId,
    /// `None` for standard output, whose opener decides who writes to it.
    lock: Option<Lock>,
    /// Whether it had a name when opened. Without one it cannot be removed.
    named: bool,
    /// Its length at the last check, plus what was written since.
    written: u64,
    /// The offset up to which space is allocated.
    allocated: u64,
    /// The file system's block size.
    block: u64,
    /// The time of the last check, and its known length then.
    looked: (Instant, u64),
}

/// What another process did to a file.
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

    /// Returns the id of the file at a path.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|meta| Self::of(&meta))
    }
}

impl OpenTarget {
    /// Opens the target. Waits up to `patience` for the lock of a process that has just been killed.
    pub(super) fn open(target: &Target, patience: Duration) -> Result<Self, OpenError> {
        match target {
            Target::Stdout => stdout(),
            Target::File(path) => {
                let (file, meta) = open_file(path)?;
                Self::of(file, &meta, path, patience)
            }
        }
    }

    /// Opens the file that is at the path now. `None` if it is the one already `open`.
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

    /// Checks that this number of bytes can be written now.
    pub(super) fn room(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Regular(file) => file.room(bytes),
            Self::Stream(stream) => stream.room(),
        }
    }

    /// Writes as much of the line as possible now.
    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            Self::Regular(file) => file.write(line),
            Self::Stream(stream) => stream.write(line),
        }
    }

    /// Returns how many bytes of several lines are written together: for a pipe, as many as it takes atomically, which is
    /// also all that a small one has room for.
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

    /// Returns the stream, whose reader can be waited for.
    pub(super) fn stream(&self) -> Option<Arc<File>> {
        match self {
            Self::Regular(_) => None,
            Self::Stream(stream) => Some(stream.file()),
        }
    }

    /// Returns the file if its check is due. Whoever gets it must check it.
    pub(super) fn due_for_recheck(&mut self, now: Instant) -> Option<Arc<File>> {
        self.regular_mut()?.due_for_recheck(now)
    }

    /// Applies the result of a check. Returns what was done to the file.
    pub(super) fn observe(&mut self, file: &Arc<File>, meta: &Metadata) -> Option<Change> {
        self.regular_mut().filter(|own| Arc::ptr_eq(&own.file, file))?.observe(meta)
    }

    /// Returns the file if space for a line of this size is allocated. Then several threads can write to it at once.
    pub(super) fn shared(&self, bytes: u64) -> Option<Arc<File>> {
        self.regular().filter(|file| file.has_allocated(bytes)).map(|file| Arc::clone(&file.file))
    }

    /// Applies the result of a write to the file. Returns whether it is still the open one.
    pub(super) fn wrote(&mut self, file: &Arc<File>, written: &io::Result<usize>) -> bool {
        let own = self.regular_mut().filter(|own| Arc::ptr_eq(&own.file, file));
        own.map(|own| own.wrote(written)).is_some()
    }

    /// Releases allocated space that no line has used.
    pub(super) fn release_allocation(&mut self) {
        if let Self::Regular(file) = self {
            file.release_allocation();
        }
    }

    /// Returns the file's id, if it has a name.
    pub(super) fn file_id(&self) -> Option<FileId> {
        self.regular().filter(|file| file.named).map(|file| file.id)
    }

    /// Returns the lock, if the target is a file with one.
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

    /// Checks that this number of bytes can be written, and allocates space for them.
    fn room(&mut self, bytes: u64) -> io::Result<()> {
        if self.written + bytes <= self.allocated {
            return Ok(());
        }
        self.written = self.file.metadata()?.len();
        let needed = self.written + bytes;
        // Some file systems ignore this limit when space is allocated.
        let largest = getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(now, _)| now);
        if needed > largest {
            return Err(io::Error::from_raw_os_error(nix::libc::EFBIG));
        }
        let upto = |end: u64| end.next_multiple_of(self.block).min(largest);
        let (most, least) = (upto(needed + ALLOCATE_AHEAD), upto(needed));
        self.allocate(most).or_else(|_| self.allocate(least))
    }

    /// Allocates space up to `end` without changing the file's length. Never requests space that is allocated already, nor a
    /// part of its last block: if there is too little, tmpfs releases everything requested.
    fn allocate(&mut self, end: u64) -> io::Result<()> {
        let from = self.written.max(self.allocated);
        let (Ok(start), Ok(length)) = (i64::try_from(from), i64::try_from(end.saturating_sub(from))) else {
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        match fallocate(&*self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, start, length) {
            Ok(()) => self.allocated = end,
            // The file system cannot preallocate, so only the write will tell.
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
            // The previous knowledge is invalid.
            Err(_) => self.allocated = 0,
        }
    }

    fn has_allocated(&self, bytes: u64) -> bool {
        self.allocated != DEFAULT_BLOCK && self.written + bytes <= self.allocated
    }

    /// Releases preallocated space. Not while another thread or process may write, because that could cut off lines.
    fn release_allocation(&mut self) {
        let allocated = std::mem::take(&mut self.allocated);
        if allocated > 0 && self.lock == Some(Lock::Held) && Arc::strong_count(&self.file) == 1 {
            drop(self.file.metadata().and_then(|meta| self.file.set_len(meta.len())));
        }
    }

    fn due_for_recheck(&mut self, now: Instant) -> Option<Arc<File>> {
        let due = now.saturating_duration_since(self.looked.0) >= RECHECK_INTERVAL;
        // While others write, the length is unknown.
        (due && Arc::strong_count(&self.file) == 1).then(|| {
            self.looked = (now, self.written);
            Arc::clone(&self.file)
        })
    }

    fn observe(&mut self, meta: &Metadata) -> Option<Change> {
        let truncated = meta.len() < self.looked.1;
        if truncated {
            // The allocated space is gone, too.
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
    // Without a reader a named pipe would block, so it is opened without waiting.
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(O_NONBLOCK);
    let opened = options.open(path).and_then(|file| file.metadata().map(|meta| (file, meta)));
    opened.map_err(|source| OpenError::File { path: path.into(), source })
}

/// Opens standard output.
///
/// A pipe is reopened, so that a write never blocks: another writer, such as our own log, may take the room that was free a
/// moment ago. If it cannot be reopened, it is only polled before each write. A file is appended to, even after truncation.
fn stdout() -> Result<OpenTarget, OpenError> {
    let failed = |source| OpenError::File { path: Path::new("/dev/stdout").into(), source };
    let inherited = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
    let flags = OFlag::from_bits_retain(fcntl(&inherited, FcntlArg::F_GETFL).map_err(|e| failed(e.into()))?);
    let meta = inherited.metadata().map_err(failed)?;
    let (kind, access) = (meta.file_type(), flags & OFlag::O_ACCMODE);
    if access == OFlag::O_RDONLY {
        return Err(OpenError::NoOutput("not open for writing"));
    }
    // Rust's runtime opens `/dev/null` for reading and writing in place of closed standard descriptors. A shell, systemd or
    // Docker opens it for writing only.
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

/// The allocated offset if the file system cannot preallocate.
const DEFAULT_BLOCK: u64 = u64::MAX;
/// How many bytes to allocate in advance, so that it happens rarely.
const ALLOCATE_AHEAD: u64 = 1024 * 1024;
/// The interval between checks of a file: every call if there are few, some calls in a hundred if there are many.
const RECHECK_INTERVAL: Duration = Duration::from_millis(1);

#[cfg(test)]
impl OpenTarget {
    pub(super) fn pipe(writer: File) -> Self {
        Self::Stream(StreamTarget::pipe(writer))
    }
}
