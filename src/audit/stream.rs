//! Streams as sinks: pipes, sockets, terminals and devices.

use std::{
    fs::{File, Metadata},
    io::{self, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::fs::FileTypeExt,
    },
    sync::Arc,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A stream to write to.
pub(super) struct StreamTarget {
    file: Arc<File>,
    is_device: bool,
}

impl StreamTarget {
    pub(super) fn new(file: File, meta: &Metadata) -> Self {
        Self { file: file.into(), is_device: meta.file_type().is_char_device() }
    }

    /// Checks that it accepts a line now. Some devices that accept none, such as `/dev/full`, report that for an empty
    /// write, too.
    pub(super) fn room(&self) -> io::Result<()> {
        writable(self.file.as_fd())?;
        if self.is_device { self.write(&[]).map(drop) } else { Ok(()) }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.file).write(bytes)
    }

    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// Polls for room. A writable pipe has room for a whole line; a socket or terminal for part of one. An error means that no
/// reader is left.
fn writable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::ZERO)?;
    let events = fds.first().and_then(PollFd::revents).unwrap_or(PollFlags::empty());
    if events == PollFlags::POLLOUT {
        return Ok(());
    }
    let broken = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    Err(if events.intersects(broken) {
        io::Error::from_raw_os_error(nix::libc::EPIPE)
    } else {
        reader_behind()
    })
}

/// Waits until the reader of a stream has made room or is gone. Returns whether that happened in time.
pub(super) fn wait_for_room(stream: &File, patience: Duration) -> bool {
    let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
    poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], patience).is_ok_and(|ready| ready > 0)
}

/// Returns the error for a reader that has not caught up.
pub(super) fn reader_behind() -> io::Error {
    io::Error::new(io::ErrorKind::WouldBlock, "its reader is stuck")
}

#[cfg(test)]
impl StreamTarget {
    pub(super) fn pipe(writer: File) -> Self {
        Self { file: writer.into(), is_device: false }
    }
}
