//! Concurrent checks of an open file, and concurrent writes of lines whose space is allocated.
//!
//! System calls run without the sink's lock; their results are applied afterwards under the lock.

use std::{
    fs::{File, Metadata},
    io::{self, Write},
    sync::Arc,
    time::Instant,
};

use super::{Output, reader_behind};

impl Output {
    /// Returns the file if its check is due. Whoever gets it must check it and report by [`Self::observe`].
    pub(in crate::audit) fn due_for_recheck(&mut self) -> Option<Arc<File>> {
        self.opened.due_for_recheck(Instant::now())
    }

    /// Applies the result of a check.
    pub(in crate::audit) fn observe(&mut self, file: &Arc<File>, meta: &Metadata) {
        if let Some(change) = self.opened.observe(file, meta) {
            self.changed(change);
        }
    }

    /// Returns the file if an owed line can be written at once: no other comes first, and its space is allocated. Not if
    /// calls are announced, because then the file of a record has to be known. The result is reported by [`Self::appended`].
    pub(in crate::audit) fn shared(&self, line: &[u8]) -> Option<SharedFile> {
        if self.gone || self.in_flight.is_some() || self.len_waiting() > 0 {
            return None;
        }
        self.opened.shared(line.len() as u64).map(SharedFile)
    }

    /// Applies the result of writing an owed line, as [`Self::append`] does.
    pub(in crate::audit) fn appended(&mut self, line: &[u8], wrote: WriteOutcome, promised: u64) {
        let WriteOutcome { to, written } = wrote;
        let is_open = self.opened.wrote(&to, &written);
        match written {
            Ok(written) if written == line.len() => {}
            Ok(written) if is_open && self.begun.is_none() => {
                self.begun = Some((line.to_vec(), written));
                self.failed(&reader_behind());
            }
            // Another file has taken its place and gets the whole line.
            Ok(_) => self.keep(line.to_vec()),
            Err(error) => {
                self.keep(line.to_vec());
                self.failed(&error);
            }
        }
        self.release(promised);
        self.flush();
    }
}

/// A file that several threads write to.
pub(in crate::audit) struct SharedFile(Arc<File>);

/// The result of a write.
pub(in crate::audit) struct WriteOutcome {
    to: Arc<File>,
    written: io::Result<usize>,
}

impl SharedFile {
    pub(in crate::audit) fn write(self, line: &[u8]) -> WriteOutcome {
        let written = (&*self.0).write(line);
        WriteOutcome { to: self.0, written }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::Path, thread};

    use super::super::super::{Sink, Target, WhenBlocked};

    const THREADS: usize = 4;
    const LINES: usize = 1500;

    fn line(thread: usize, number: usize) -> String {
        format!("{thread} {number} {}", "x".repeat(500 + number % 400))
    }

    fn lines(path: &Path) -> Vec<String> {
        fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    /// While the file is repeatedly moved away and reopened.
    #[test]
    fn lines_of_many_threads_are_whole_and_each_is_there_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let sink = Sink::open(Target::File(path.clone()), WhenBlocked::Refuse).unwrap();
        let mut found = thread::scope(|scope| {
            for thread in 0..THREADS {
                let sink = &sink;
                scope.spawn(move || {
                    for number in 0..LINES {
                        let slot = sink.try_reserve().expect("room");
                        sink.spend(slot, format!("{}\n", line(thread, number)).as_bytes());
                    }
                });
            }
            let mut moved = Vec::new();
            for rotation in 0..20 {
                let old = folder.path().join(format!("audit.log.{rotation}"));
                fs::rename(&path, &old).unwrap();
                sink.reopen().unwrap();
                moved.push(old);
                thread::yield_now();
            }
            moved
        });
        found.push(path);
        let found: Vec<String> = found.iter().flat_map(|path| lines(path)).collect();
        let all = (0..THREADS).flat_map(|thread| (0..LINES).map(move |number| line(thread, number)));
        assert_eq!(found.len(), THREADS * LINES);
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), all.collect());
    }
}
