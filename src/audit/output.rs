//! The lines on their way into a sink: those that are owed, those that may be lost, and the room kept for them.
//!
//! A call that may act is promised room first, so its line is *owed*: it is written, or waits for as long as it takes.
//! Owed lines are as many as there were calls under way. The line of a call that got no promise, and so did not act,
//! never enters promised room, and is dropped and counted where too many of its kind wait already.
//!
//! A line is one `write(2)`, and not synced. It outlives the process from then on, however that ends; it does not
//! outlive the machine's power before the kernel has written it to the disk.

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

/// An open target, and the lines that wait for room in it.
pub(super) struct Output {
    target: Target,
    opened: OpenTarget,
    /// Calls are refused while it takes no line.
    refuse: bool,
    /// Bytes of room that calls under way were promised.
    promised: u64,
    /// A line of which a part is written: nothing else comes before its rest.
    begun: Option<(Vec<u8>, usize)>,
    owed: VecDeque<Vec<u8>>,
    refusals: VecDeque<Vec<u8>>,
    dropped: u64,
    taken: u64,
    failure: Option<SinkFailure>,
    /// The calls that are announced and have no record, where calls are announced.
    in_flight: Option<InFlightIntents>,
    /// The file was removed, and could not be opened anew.
    gone: bool,
    /// Since when another file, or none, stands at the path.
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
            // What takes nothing is known before the first call.
            output.has_room(0);
        }
        Ok(output)
    }

    /// Remembers from now on which calls are announced and have no record.
    pub(super) fn follow_calls(&mut self, follow: bool) {
        self.in_flight = follow.then(InFlightIntents::default);
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// The path of the file and what is known of its lock, where it is one that keeps what was written.
    pub(super) fn kept_at(&self) -> Option<(&Path, Lock)> {
        match &self.target {
            Target::File(path) => self.opened.lock().map(|lock| (path.as_path(), lock)),
            Target::Stdout => None,
        }
    }

    /// Promises so many bytes of room, where nothing waits and there are as many beside those promised already.
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

    /// Gives back so many promised bytes.
    pub(super) fn release(&mut self, bytes: u64) {
        self.promised = self.promised.saturating_sub(bytes);
    }

    /// Writes a line that is owed, before all that are not, or keeps it until there is room. Only then is the room that
    /// it was promised given back: others wait for it.
    pub(super) fn append(&mut self, line: Vec<u8>, promised: u64) {
        self.recheck();
        let back = if self.flush_owed() { Err(line) } else { self.put(line, 0) };
        if let Err(line) = back {
            self.keep(line);
        }
        self.release(promised);
        self.flush();
    }

    /// Writes the line of a call that did not act, if there is room that nobody was promised.
    pub(super) fn offer(&mut self, line: Vec<u8>) {
        self.recheck();
        let back = if self.flush() { Err(line) } else { self.put(line, self.promised) };
        match back {
            Ok(()) => {}
            Err(line) if self.refusals.len() < MAX_WAITING => self.refusals.push_back(line),
            Err(_) => self.dropped += 1,
        }
    }

    /// Writes the line now or not at all. Says which. Where a part of it was written the rest comes with what waits,
    /// and nothing is left of it to be written again.
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

    /// Writes what waits until there is no more room, what is owed first. Says whether something is left.
    pub(super) fn flush(&mut self) -> bool {
        if self.flush_owed() {
            return true;
        }
        let mut refusals = mem::take(&mut self.refusals);
        while !refusals.is_empty() && self.put_first(&mut refusals, self.promised) && self.resume() {}
        self.refusals = refusals;
        self.len_waiting() > 0
    }

    /// Of what waits, writes what is owed. Says whether some of that is left.
    fn flush_owed(&mut self) -> bool {
        let mut owed = mem::take(&mut self.owed);
        while self.resume() && !owed.is_empty() && self.put_first(&mut owed, 0) {}
        self.owed = owed;
        self.has_owed()
    }

    /// Begins the first of these lines, and as many more as are taken with it. Says whether something of them is written.
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

    /// Lines that were lost.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many lines wait.
    pub(super) fn len_waiting(&self) -> usize {
        self.owed.len() + self.refusals.len() + usize::from(self.begun.is_some())
    }

    /// How many bytes were written so far: while there are more of them, somebody takes them.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whose reader lines wait for, where it may still catch up.
    pub(super) fn awaited(&self) -> Option<Arc<File>> {
        let waits = self.len_waiting() > 0 && self.is_behind();
        waits.then(|| self.opened.stream()).flatten()
    }

    /// Whether a line that is owed waits.
    pub(super) fn has_owed(&self) -> bool {
        self.begun.is_some() || !self.owed.is_empty()
    }

    /// The trouble there is, where it is more than a reader that is slow for a moment.
    pub(super) fn blockage(&self) -> Option<&Blockage> {
        self.failure.as_ref().filter(|failure| failure.is_stuck()).map(SinkFailure::blockage)
    }

    /// What went wrong last, where something does.
    pub(super) fn error(&self) -> Option<String> {
        self.failure.as_ref().map(|failure| failure.blockage().error.clone())
    }

    /// Gives back what was allocated ahead: nothing more will come, as far as is known.
    pub(super) fn release_allocation(&mut self) {
        self.opened.release_allocation();
    }

    /// Counts a call as refused, where nobody is waited for any more. Says whether it was.
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

    /// Finds out by itself whether what was wrong is over: nobody may call meanwhile.
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

    /// Gives up what still waits: it is counted, and the lines that are owed are returned.
    pub(super) fn abandon(&mut self) -> Vec<Vec<u8>> {
        self.dropped += self.len_waiting() as u64;
        self.refusals.clear();
        let begun = self.begun.take().map(|(line, _)| line);
        begun.into_iter().chain(self.owed.drain(..)).collect()
    }

    /// Where calls go on whatever becomes of their lines, there is no bound to how many wait.
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

    /// Begins the line, where there is room for it beside what is promised. Gives it back where nothing of it is
    /// written.
    fn put(&mut self, line: Vec<u8>, spare: u64) -> Result<(), Vec<u8>> {
        // Half a line on a full disk would stay half a line.
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

    /// Writes the rest of what has begun. Says whether nothing of it is left.
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

    /// All of the line is in the file.
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

/// The first of these lines, and those behind it that are no more than so many bytes with it.
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

/// A process that was killed holds on to its files until the kernel has cleared it away.
const KILLED_HOLDER_GRACE: Duration = Duration::from_secs(1);
/// As many lines that are not owed wait for room at most.
pub(super) const MAX_WAITING: usize = 4096;

#[cfg(test)]
impl Output {
    /// Of a pipe.
    pub(super) fn pipe(writer: File) -> Self {
        let mut output = Self::open(Target::File("/dev/null".into()), true).unwrap();
        output.opened = OpenTarget::pipe(writer);
        output
    }
}
