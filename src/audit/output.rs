//! The lines waiting for a sink, and the room promised to calls.
//!
//! A call that may act is promised room first, so its line is *owed*: it is written, or waits for as long as it takes. There
//! are at most as many owed lines as calls in flight. A call without a promise does not act; its line never uses promised
//! room, and is dropped and counted if too many of its kind are waiting.
//!
//! A line is one `write(2)` and not synced. From then on it survives the end of the process, but a power failure only once
//! the kernel has written it to disk.

mod rotation;
mod shared;

use std::{
    borrow::Cow,
    collections::VecDeque,
    fs::File,
    io, mem,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    failure::{Blockage, SinkFailure},
    in_flight::InFlightIntents,
    lock::Lock,
    open_target::OpenTarget,
    stream::reader_behind,
    target::{OpenError, Target},
};

/// An open target and the lines that wait for it.
pub(super) struct Output {
    target: Target,
    opened: OpenTarget,
    /// Whether calls are refused while it is blocked.
    refuse: bool,
    /// The bytes promised to calls in flight.
    promised: u64,
    /// A partly written line, whose rest comes before anything else.
    begun: Option<(Vec<u8>, usize)>,
    owed: VecDeque<Vec<u8>>,
    refusals: VecDeque<Vec<u8>>,
    dropped: u64,
    taken: u64,
    failure: Option<SinkFailure>,
    /// The announced calls without a record, if calls are announced.
    in_flight: Option<InFlightIntents>,
    /// Whether the file was removed and could not be reopened.
    gone: bool,
    /// Since when the path has another file or none.
    moved: Option<Instant>,
}

impl Output {
    pub(super) fn open(target: Target, refuse: bool) -> Result<Self, OpenError> {
        let mut output = Self {
            opened: OpenTarget::open(&target, KILLED_HOLDER_GRACE)?,
            target,
            refuse,
            promised: 0,
            begun: None,
            owed: VecDeque::new(),
            refusals: VecDeque::new(),
            dropped: 0,
            taken: 0,
            failure: None,
            in_flight: None,
            gone: false,
            moved: None,
        };
        if output.opened.stream().is_some() {
            // A sink that is blocked from the start is noticed before the first call.
            output.has_room(0);
        }
        Ok(output)
    }

    /// Sets whether to track announced calls without a record.
    pub(super) fn follow_calls(&mut self, follow: bool) {
        self.in_flight = follow.then(InFlightIntents::default);
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the path and lock of a regular file.
    pub(super) fn kept_at(&self) -> Option<(&Path, Lock)> {
        match &self.target {
            Target::File(path) => self.opened.lock().map(|lock| (path.as_path(), lock)),
            Target::Stdout => None,
        }
    }

    /// Promises room for this number of bytes, if no line waits and there is enough beside earlier promises.
    pub(super) fn promise(&mut self, bytes: u64) -> bool {
        self.recheck();
        let has_room = !self.flush() && self.has_room(self.promised + bytes);
        if has_room || !self.refuse {
            self.promised += bytes;
        }
        if has_room && let Some(failure) = self.failure.take() {
            failure.over(&self.target, self.dropped);
        }
        has_room || !self.refuse
    }

    /// Releases promised bytes.
    pub(super) fn release(&mut self, bytes: u64) {
        self.promised = self.promised.saturating_sub(bytes);
    }

    /// Writes an owed line before all others, or keeps it until there is room. Its promise is released afterwards.
    pub(super) fn append(&mut self, line: Vec<u8>, promised: u64) {
        self.recheck();
        let back = if self.flush_owed() { Err(line) } else { self.put(line, 0) };
        if let Err(line) = back {
            self.keep(line);
        }
        self.release(promised);
        self.flush();
    }

    /// Writes the line of a call that did not act, if there is room that is not promised.
    pub(super) fn offer(&mut self, line: Vec<u8>) {
        self.recheck();
        let back = if self.flush() { Err(line) } else { self.put(line, self.promised) };
        match back {
            Ok(()) => {}
            Err(line) if self.refusals.len() < MAX_WAITING => self.refusals.push_back(line),
            Err(_) => self.dropped += 1,
        }
    }

    /// Writes the line now or not at all, and returns which. If only a part was written, the rest is queued, and the line
    /// must not be written again.
    pub(super) fn write_now(&mut self, line: &mut Vec<u8>) -> bool {
        self.recheck();
        if self.flush() {
            return false;
        }
        if line.is_empty() {
            return true;
        }
        match self.put(mem::take(line), 0) {
            Ok(()) => self.begun.is_none(),
            Err(back) => {
                *line = back;
                false
            }
        }
    }

    /// Writes waiting lines, owed ones first, until there is no more room. Returns whether any are left.
    pub(super) fn flush(&mut self) -> bool {
        if self.flush_owed() {
            return true;
        }
        let mut refusals = mem::take(&mut self.refusals);
        while !refusals.is_empty() && self.put_first(&mut refusals, self.promised) && self.resume() {}
        self.refusals = refusals;
        self.len_waiting() > 0
    }

    /// Writes waiting owed lines. Returns whether any are left.
    fn flush_owed(&mut self) -> bool {
        let mut owed = mem::take(&mut self.owed);
        while self.resume() && !owed.is_empty() && self.put_first(&mut owed, 0) {}
        self.owed = owed;
        self.has_owed()
    }

    /// Writes the first of these lines, with as many more as fit into one write. Returns whether anything was written.
    fn put_first(&mut self, lines: &mut VecDeque<Vec<u8>>, spare: u64) -> bool {
        let bytes = together(lines, self.opened.at_once());
        if !self.has_room(bytes.len() as u64 + spare) {
            return false;
        }
        let mut written = self.write(&bytes);
        let some = written > 0;
        while written > 0
            && let Some(line) = lines.pop_front()
        {
            if line.len() > written {
                self.begun = Some((line, written));
                break;
            }
            written -= line.len();
            self.is_written(&line);
        }
        some
    }

    /// Returns the number of lost lines.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of waiting lines.
    pub(super) fn len_waiting(&self) -> usize {
        self.owed.len() + self.refusals.len() + usize::from(self.begun.is_some())
    }

    /// Returns the number of bytes written, which grows as long as somebody reads.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns the stream whose reader may still catch up, if lines wait for it.
    pub(super) fn awaited(&self) -> Option<Arc<File>> {
        let waits = self.len_waiting() > 0 && self.is_behind();
        waits.then(|| self.opened.stream()).flatten()
    }

    /// Whether an owed line waits.
    pub(super) fn has_owed(&self) -> bool {
        self.begun.is_some() || !self.owed.is_empty()
    }

    /// Returns the failure, if it is more than a reader that is briefly slow.
    pub(super) fn blockage(&self) -> Option<&Blockage> {
        self.failure.as_ref().filter(|failure| failure.is_stuck()).map(SinkFailure::blockage)
    }

    /// Returns the latest error, if there is a failure.
    pub(super) fn error(&self) -> Option<String> {
        self.failure.as_ref().map(|failure| failure.blockage().error.clone())
    }

    /// Releases preallocated space when no more lines are expected.
    pub(super) fn release_allocation(&mut self) {
        self.opened.release_allocation();
    }

    /// Refuses and counts a call, unless the reader may still be waited for. Returns whether it was refused.
    pub(super) fn refuses(&mut self, waited: bool) -> bool {
        let Some(failure) = self.failure.as_mut() else { return waited };
        if waited || failure.is_stuck() {
            failure.refused();
            failure.log(&self.target, self.refuse);
            return true;
        }
        false
    }

    /// Whether a reader may still catch up.
    pub(super) fn is_behind(&self) -> bool {
        self.failure.as_ref().is_some_and(SinkFailure::is_behind)
    }

    /// Checks whether the failure is over, because there may be no calls to find out.
    pub(super) fn probe(&mut self, bytes: u64) {
        self.recheck();
        if self.failure.is_some() {
            if self.promise(bytes) {
                self.release(bytes);
            }
            if let Some(failure) = self.failure.as_mut() {
                failure.log(&self.target, self.refuse);
            }
        }
    }

    /// Gives up waiting lines: counts them, and returns the owed ones.
    pub(super) fn abandon(&mut self) -> Vec<Vec<u8>> {
        self.dropped += self.len_waiting() as u64;
        self.refusals.clear();
        let begun = self.begun.take().map(|(line, _)| line);
        begun.into_iter().chain(self.owed.drain(..)).collect()
    }

    /// Queues an owed line. With `when_blocked: drop` the queue is bounded.
    fn keep(&mut self, line: Vec<u8>) {
        if self.refuse || self.owed.len() < MAX_WAITING {
            self.owed.push_back(line);
        } else {
            self.dropped += 1;
        }
    }

    fn has_room(&mut self, bytes: u64) -> bool {
        if self.gone {
            return false;
        }
        match self.opened.room(bytes) {
            Ok(()) => true,
            Err(error) => {
                self.failed(&error);
                false
            }
        }
    }

    /// Writes a line if there is room beside the promises. Returns the line if nothing of it was written.
    fn put(&mut self, line: Vec<u8>, spare: u64) -> Result<(), Vec<u8>> {
        // A line half-written on a full disk would stay so.
        if !self.has_room(line.len() as u64 + spare) {
            return Err(line);
        }
        match self.write(&line) {
            0 => Err(line),
            written if written == line.len() => {
                self.is_written(&line);
                Ok(())
            }
            written => {
                self.begun = Some((line, written));
                Ok(())
            }
        }
    }

    /// Writes the rest of a partly written line. Returns whether nothing is left.
    fn resume(&mut self) -> bool {
        let Some((line, written)) = self.begun.take() else { return true };
        let rest = line.get(written..).unwrap_or_default();
        let more = if self.has_room(rest.len() as u64) { self.write(rest) } else { 0 };
        let done = more == rest.len();
        if done {
            self.is_written(&line);
        } else {
            self.begun = Some((line, written + more));
        }
        done
    }

    /// Notes that a line is complete.
    fn is_written(&mut self, line: &[u8]) {
        if let Some(in_flight) = self.in_flight.as_mut() {
            in_flight.wrote(line);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        match self.opened.write(bytes) {
            Ok(written) => {
                self.taken += written as u64;
                if let Some(failure) = self.failure.as_mut() {
                    failure.moved();
                }
                if written < bytes.len() {
                    self.failed(&reader_behind());
                }
                written
            }
            Err(error) => {
                self.failed(&error);
                0
            }
        }
    }

    fn failed(&mut self, error: &io::Error) {
        match self.failure.as_mut() {
            Some(failure) => failure.update(error),
            None => self.failure = Some(SinkFailure::new(error)),
        }
    }
}

/// Joins the first of these lines with the next ones, up to a maximum size.
fn together(lines: &VecDeque<Vec<u8>>, most: usize) -> Cow<'_, [u8]> {
    let fits = |length: &mut usize, line: &Vec<u8>| {
        *length += line.len();
        (*length <= most).then_some(())
    };
    match lines.iter().scan(0, fits).count() {
        0 | 1 => lines.front().map(Vec::as_slice).unwrap_or_default().into(),
        several => lines.iter().take(several).map(Vec::as_slice).collect::<Vec<_>>().concat().into(),
    }
}

/// How long a killed process may keep its lock until the kernel has cleaned up.
const KILLED_HOLDER_GRACE: Duration = Duration::from_secs(1);
/// The maximum number of waiting lines that are not owed.
pub(super) const MAX_WAITING: usize = 4096;

#[cfg(test)]
impl Output {
    /// Creates the output of a pipe.
    pub(super) fn pipe(writer: File) -> Self {
        let mut output = Self::open(Target::File("/dev/null".into()), true).unwrap();
        output.opened = OpenTarget::pipe(writer);
        output
    }
}
