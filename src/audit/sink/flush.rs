//! Flushes waiting lines as soon as there is room, and before the process ends.

use std::{fs::File, sync::Arc, thread, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{super::stream::wait_for_room, READER_GRACE, Sink, WhenBlocked};

impl Sink {
    /// Writes waiting lines as soon as there is room, and checks the file, even if there are no calls.
    pub async fn run_flusher(self) {
        loop {
            let awaited = {
                let mut output = self.shared.output.lock();
                output.probe(self.room());
                output.awaited()
            };
            match awaited {
                Some(stream) => self.clone().follow(stream).await,
                None => sleep(POLL_INTERVAL).await,
            }
            self.shared.output.lock().find_moved();
        }
    }

    /// Writes waiting lines as the reader takes them, on a blocking thread: the smallest pipe takes a few lines at a time.
    /// Returns when nothing waits, or nothing was read for a while.
    async fn follow(self, stream: Arc<File>) {
        let work = move || {
            let end = Instant::now() + MAX_FOLLOW;
            while Instant::now() < end && wait_for_room(&stream, POLL_INTERVAL) {
                let mut output = self.shared.output.lock();
                let before = output.taken();
                if !output.flush() || !output.is_behind() {
                    return;
                }
                let nothing_taken = output.taken() == before;
                drop(output);
                if nothing_taken {
                    thread::sleep(READER_GRACE);
                }
            }
        };
        drop(spawn_blocking(work).await);
    }

    /// Writes waiting lines before the process ends. Owed lines have until `end`; the others, too, while somebody reads,
    /// else only a moment. Returns whether all were written.
    pub async fn finish(&self, end: Instant) -> bool {
        let (mut taken, mut soon) = (None, end);
        loop {
            let (waits, has_owed, now) = {
                let mut output = self.shared.output.lock();
                (output.flush(), output.has_owed(), output.taken())
            };
            if taken.replace(now) != Some(now) {
                soon = end.min(Instant::now() + REFUSALS_FLUSH_TIMEOUT);
            }
            let end = if has_owed && self.shared.when_blocked == WhenBlocked::Refuse { end } else { soon };
            if !waits || Instant::now() >= end {
                return !waits;
            }
            sleep(READER_GRACE).await;
        }
    }

    /// Makes a last attempt, for the late lines of calls that were cut off. Logs the loss of what cannot be written, with
    /// the owed lines themselves. Returns whether all were written.
    pub fn end(&self) -> bool {
        let end = Instant::now() + FINAL_FLUSH_TIMEOUT;
        while self.is_behind() && Instant::now() < end {
            thread::sleep(READER_GRACE);
        }
        let mut output = self.shared.output.lock();
        output.release_allocation();
        let records = output.len_waiting();
        if records == 0 {
            return true;
        }
        let (path, error) = (output.target().name(), output.error());
        let owed = output.abandon();
        let calls = owed.len();
        tracing::error!(path, error, records, calls, "cannot write records: they are lost");
        for line in owed.iter().take(MAX_LOGGED) {
            let record = String::from_utf8_lossy(line);
            tracing::error!(record = record.trim_end(), "cannot write a call's record to the audit sink");
        }
        false
    }

    /// Whether lines wait that a reader may still take.
    fn is_behind(&self) -> bool {
        let mut output = self.shared.output.lock();
        output.flush() && output.is_behind()
    }
}

/// How often to check for a reader that has caught up, or a disk that has room again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long to follow a reader before the file is checked.
const MAX_FOLLOW: Duration = Duration::from_secs(1);
/// How long records of calls that did not act may delay the end of a process if nobody reads.
const REFUSALS_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long records of calls that were cut off may delay it after the drain time-out.
const FINAL_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// The maximum number of lost records that are logged.
const MAX_LOGGED: usize = 100;
