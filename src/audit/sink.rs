//! The audit sink: reserves room for a call's lines before it acts, and refuses calls if there is none.
//!
//! A request takes a [`Slot`] before it may act and spends it on its line at the end. A slot guarantees room for the
//! request's lines. So with a full disk or a stuck reader calls are refused before they act, and none acts unrecorded.
//!
//! With `write_ahead` a call is announced by a line of its own before its first byte, and nothing is sent without the
//! receipt, [`Announced`].
//!
//! Lines are written on the request's own thread, because handing them to another costs ten times as much. The lock protects
//! the accounting only and is not held during system calls, so no thread waits for another's write.

mod flush;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

use super::{
    Record,
    failure::{Blockage, STUCK_AFTER},
    interrupted::close_interrupted,
    line::MAX_LINE,
    output::Output,
    target::{OpenError, Target},
};

/// The audit sink of a process. Clones share it.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<SinkShared>,
    write_ahead: bool,
}

/// What happens to calls while lines cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenBlocked {
    /// They are refused, so no call is executed that cannot be recorded.
    Refuse,
    /// They go on, and lines without room are dropped and counted.
    Drop,
}

/// The room for one request's lines.
#[must_use = "dropping a slot loses the line it was taken for"]
pub struct Slot(());

/// The receipt for a call's announcement: the call may be sent.
#[must_use = "a request is sent only against it"]
pub struct Announced(());

/// The sink accepts no lines now.
#[derive(Debug, thiserror::Error)]
#[error("the audit sink is blocked")]
pub struct Blocked;

/// The state of a sink for metrics and `/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkStats {
    /// The number of lost lines.
    pub dropped: u64,
    /// The number of waiting lines.
    pub waiting: usize,
    /// Why it is blocked, if it is.
    pub blocked: Option<Blockage>,
}

struct SinkShared {
    output: Mutex<Output>,
    when_blocked: WhenBlocked,
}

impl Sink {
    /// Opens the target. In a file, calls that an earlier process announced but did not record are recorded as unknown.
    ///
    /// # Errors
    /// If it cannot be opened for appending, or another process writes to it.
    pub fn open(target: Target, when_blocked: WhenBlocked) -> Result<Self, OpenError> {
        let mut output = Output::open(target, when_blocked == WhenBlocked::Refuse)?;
        close_interrupted(&mut output);
        Ok(Self::of(output, when_blocked))
    }

    /// Sets whether calls are announced before they are sent.
    pub fn write_ahead(self, write_ahead: bool) -> Self {
        self.shared.output.lock().follow_calls(write_ahead);
        Self { write_ahead, ..self }
    }

    /// Reopens the file after a log rotation.
    ///
    /// # Errors
    /// If it cannot be opened. Then the open file stays in use.
    pub fn reopen(&self) -> Result<(), OpenError> {
        self.shared.output.lock().reopen()
    }

    /// Reserves room for one request's lines. Waits briefly for the reader of a pipe to catch up.
    ///
    /// # Errors
    /// If there is no room and calls are to be refused.
    pub async fn reserve(&self) -> Result<Slot, Blocked> {
        self.retry_briefly(Self::try_reserve).await
    }

    /// Announces a call, once, if calls are announced.
    ///
    /// # Errors
    /// If the line cannot be written now. Then the call must not be sent.
    pub async fn announce(&self, record: &mut Record) -> Result<Announced, Blocked> {
        if let Some(mut line) = self.write_ahead.then(|| record.intent()).flatten() {
            self.retry_briefly(|sink| sink.shared.output.lock().write_now(&mut line).then_some(())).await?;
        }
        Ok(Announced(()))
    }

    /// Returns the receipt for a request that changes nothing, which is not announced.
    pub fn announce_nothing() -> Announced {
        Announced(())
    }

    /// Writes the line that the slot was taken for. Without room it waits; it is never dropped if calls are refused when
    /// blocked.
    #[expect(clippy::needless_pass_by_value, reason = "a slot is spent once")]
    pub fn spend(&self, slot: Slot, line: &[u8]) {
        let Slot(()) = slot;
        let mut output = self.lock_rechecked();
        let Some(file) = output.shared(line) else { return output.append(line.to_vec(), self.room()) };
        drop(output);
        let wrote = file.write(line);
        self.shared.output.lock().appended(line, wrote, self.room());
    }

    /// Writes the line of a request that was refused for lack of a slot, if there is room after all.
    pub fn try_write(&self, line: &[u8]) {
        self.shared.output.lock().offer(line.to_vec());
    }

    /// Returns the name of its target.
    pub fn name(&self) -> String {
        self.shared.output.lock().target().name()
    }

    /// Whether calls are refused because it is blocked.
    pub fn refuses(&self) -> bool {
        self.shared.when_blocked == WhenBlocked::Refuse && self.shared.output.lock().blockage().is_some()
    }

    /// Returns its state for metrics and `/status`.
    pub fn stats(&self) -> SinkStats {
        let output = self.shared.output.lock();
        SinkStats {
            dropped: output.dropped(),
            waiting: output.len_waiting(),
            blocked: output.blockage().cloned(),
        }
    }

    fn of(output: Output, when_blocked: WhenBlocked) -> Self {
        let shared = SinkShared { output: Mutex::new(output), when_blocked };
        Self { shared: Arc::new(shared), write_ahead: false }
    }

    pub(super) fn try_reserve(&self) -> Option<Slot> {
        self.lock_rechecked().promise(self.room()).then_some(Slot(()))
    }

    /// Returns the room that a call may need.
    fn room(&self) -> u64 {
        let line = MAX_LINE as u64;
        if self.write_ahead { 2 * line } else { line }
    }

    /// Retries until a reader has had time to catch up. Does not wait for a disk, nor for a reader that others already
    /// waited for.
    async fn retry_briefly<T>(&self, mut attempt: impl FnMut(&Self) -> Option<T>) -> Result<T, Blocked> {
        let (mut end, mut pause) = (None, READER_GRACE);
        loop {
            if let Some(done) = attempt(self) {
                return Ok(done);
            }
            let now = Instant::now();
            if self.shared.output.lock().refuses(now >= *end.get_or_insert(now + STUCK_AFTER)) {
                return Err(Blocked);
            }
            sleep(pause).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Locks the output, after a check of its file if that is due.
    fn lock_rechecked(&self) -> MutexGuard<'_, Output> {
        let mut output = self.shared.output.lock();
        if let Some(file) = output.due_for_recheck() {
            drop(output);
            let meta = file.metadata();
            output = self.shared.output.lock();
            if let Ok(meta) = meta {
                output.observe(&file, &meta);
            }
        }
        output
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("when_blocked", &self.shared.when_blocked).finish_non_exhaustive()
    }
}

/// How long to wait for a reader that is reading.
const READER_GRACE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(16);

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::fd::OwnedFd, thread};

    use super::{super::output::MAX_WAITING, *};

    #[test]
    fn lines_are_appended_and_survive_a_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("audit.log"), dir.path().join("audit.log.1"));
        let sink = Sink::open(Target::File(path.clone()), WhenBlocked::Refuse).unwrap();
        sink.spend(sink.try_reserve().unwrap(), b"one\n");
        std::fs::rename(&path, &moved).unwrap();
        sink.spend(sink.try_reserve().unwrap(), b"two\n");
        let held = sink.try_reserve().unwrap();
        sink.reopen().unwrap();
        sink.spend(held, b"three\n");
        assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn a_full_disk_refuses_slots_and_keeps_the_lines_of_open_ones() {
        let full = Target::File("/dev/full".into());
        let sink = Sink::open(full, WhenBlocked::Refuse).unwrap();
        assert!(sink.try_reserve().is_none(), "also for the first call");
        sink.spend(Slot(()), b"kept\n");
        let SinkStats { dropped, waiting, blocked } = sink.stats();
        assert_eq!((dropped, waiting), (0, 1));
        assert_eq!(blocked.unwrap().error, "No space left on device (os error 28)");
    }

    #[test]
    fn when_told_to_drop_calls_go_on_and_lost_lines_are_counted() {
        let sink = Sink::open(Target::File("/dev/full".into()), WhenBlocked::Drop).unwrap();
        for _ in 0..MAX_WAITING + 3 {
            sink.spend(sink.try_reserve().unwrap(), b"x\n");
        }
        let SinkStats { dropped, waiting, .. } = sink.stats();
        assert_eq!((dropped, waiting), (3, MAX_WAITING));
    }

    #[test]
    fn a_stuck_pipe_refuses_slots_and_recovers_in_order() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let sink = Sink::of(Output::pipe(File::from(writer)), WhenBlocked::Refuse);
        let mut sent = 0;
        let line = |n: usize| format!("{n:04}{}\n", "x".repeat(1019)).into_bytes();
        while let Some(slot) = sink.try_reserve() {
            sink.spend(slot, &line(sent));
            sent += 1;
            assert!(sent < 10_000, "a pipe is finite");
        }
        let mut reader = File::from(reader);
        let mut read = vec![0; sent * 1024];
        reader.read_exact(&mut read[..1024 * 8]).unwrap();
        sink.spend(sink.try_reserve().unwrap(), &line(sent));
        reader.read_exact(&mut read[1024 * 8..]).unwrap();
        for n in 0..sent {
            assert_eq!(&read[n * 1024..n * 1024 + 4], format!("{n:04}").as_bytes());
        }
        assert_eq!(sink.stats(), SinkStats::default());
    }

    #[tokio::test]
    async fn an_intent_that_a_socket_takes_in_pieces_is_written_once() {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        writer.set_nonblocking(true).unwrap();
        let sink =
            Sink::of(Output::pipe(File::from(OwnedFd::from(writer))), WhenBlocked::Refuse).write_ahead(true);
        let line = |n: usize| {
            let mut record =
                Record::new(n.to_string().into(), "app".into(), "127.0.0.1".into(), crate::clock::now());
            // Longer than a socket accepts at once.
            record.rule = Some("r".repeat(400_000));
            record
        };
        let reading = thread::spawn(move || {
            let mut read = String::new();
            reader.read_to_string(&mut read).map(|_| read).unwrap()
        });
        for n in 0..5 {
            drop(sink.announce(&mut line(n)).await.unwrap());
        }
        drop(sink);
        let text = reading.join().unwrap();
        let ids: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["request.id"].to_string())
            .collect();
        assert_eq!(ids, (0..5).map(|n| format!("\"{n}\"")).collect::<Vec<_>>());
    }
}
