//! What waits for room: it is written as soon as there is some, and before the process ends.

use std::{fs::File, sync::Arc, thread, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

use super::{super::stream::wait_for_room, READER_GRACE, Sink, WhenBlocked};

impl Sink {
    /// Writes what waits as soon as there is room, and looks after the file. Nobody else may come to do it.
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

    /// Writes what waits as its reader takes it, on a thread that serves nobody: the smallest pipe takes a few lines at a
    /// time. Returns when nothing waits, or when nothing was taken for a while.
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

    /// Writes what waits before the process ends: until `end`, as long as somebody takes it, and lines of calls also
    /// where nobody does; others for a moment only. Says whether all are written.
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

    /// Gives what still waits its last moment: lines of calls that the end itself cut come late. What cannot be written
    /// then is said, and lines of calls are in the log at least. Says whether all are written.
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

    /// Whether something waits that a reader may still take.
    fn is_behind(&self) -> bool {
        let mut output = self.shared.output.lock();
        output.flush() && output.is_behind()
    }
}

/// How soon a reader that has caught up is noticed, and a disk that has room again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// A reader is followed no longer before the file is looked after.
const MAX_FOLLOW: Duration = Duration::from_secs(1);
/// Records of calls that did not act keep a process no longer from ending, where nobody takes them.
const REFUSALS_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// Records of calls that were cut keep it no longer, after the drain time-out.
const FINAL_FLUSH_TIMEOUT: Duration = Duration::from_millis(500);
/// As many lost records are put into the log at most.
const MAX_LOGGED: usize = 100;
