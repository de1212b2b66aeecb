//! What several threads do to an open file at once: they look at it, and write lines whose space is allocated.
//!
//! The system works without the sink's lock. What came of it is told to the output afterwards, under the lock.

use std::{
    fs::{File, Metadata},
    io::{self, Write},
    sync::Arc,
    time::Instant,
};

use super::{Output, reader_behind};

impl Output {
    /// The file, where nobody has looked at it for a moment: whoever gets it looks, and says it by [`Self::saw`].
    pub(in crate::audit) fn due_for_recheck(&mut self) -> Option<Arc<File>> {
        self.opened.due_for_recheck(Instant::now())
    }

    /// Takes what that file looks like.
    pub(in crate::audit) fn observe(&mut self, file: &Arc<File>, meta: &Metadata) {
        if let Some(change) = self.opened.observe(file, meta) {
            self.changed(change);
        }
    }

    /// The file, where a line that is owed can be written at once, beside those of others: nothing is to come before it, and
    /// its space is allocated. Not where calls are announced: it has to be known in which file a record ends up. What came
    /// of it is said by [`Self::appended`].
    pub(in crate::audit) fn shared(&self, line: &[u8]) -> Option<SharedFile> {
        if self.gone || self.in_flight.is_some() || self.len_waiting() > 0 {
            return None;
        }
        self.opened.shared(line.len() as u64).map(SharedFile)
    }

    /// Takes what came of writing a line that is owed, as [`Self::append`] does.
    pub(in crate::audit) fn appended(&mut self, line: &[u8], wrote: WriteOutcome, promised: u64) {
        let WriteOutcome { to, written } = wrote;
        let is_open = self.opened.wrote(&to, &written);
        match written {
            Ok(written) if written == line.len() => {}
            Ok(written) if is_open && self.begun.is_none() => {
                self.begun = Some((line.to_vec(), written));
                self.failed(&reader_behind());
            }
            // Another file has taken its place, and gets the line whole.
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

/// What came of a write.
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

    /// While the file is moved away and opened anew, time and again.
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
