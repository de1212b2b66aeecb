//! Rotation, removal and truncation of the audit file. It is moved away, removed or truncated, and what is written next
//! goes to where records are looked for.
//!
//! Calls that are announced and have no record are announced again there: in the file that is left nobody looks for
//! what a killed process left open.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    super::{
        open_target::{Change, FileId, OpenTarget},
        target::{OpenError, Target},
    },
    Output,
};

impl Output {
    /// Opens the file anew, unless it is the one that is open. What waits will be written to the new one, also what has
    /// begun in the other.
    pub(in crate::audit) fn reopen(&mut self) -> Result<(), OpenError> {
        let Target::File(path) = &self.target else { return Ok(()) };
        if let Some(fresh) = OpenTarget::open_anew(path, self.opened.file_id())? {
            self.flush();
            self.opened = fresh;
            self.gone = false;
            if let Some((line, _)) = self.begun.take() {
                self.owed.push_front(line);
            }
            self.announce_again();
        }
        (self.gone, self.moved) = (false, None);
        Ok(())
    }

    /// A rotation moves the file away and then says so, with SIGHUP. Where nobody does, the records would go on into
    /// a file that is being packed up.
    pub(in crate::audit) fn find_moved(&mut self) {
        let (Target::File(path), Some(id)) = (&self.target, self.opened.file_id()) else { return };
        let away = match FileId::at(path) {
            Ok(there) => there != id,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if away && self.moved.get_or_insert_with(Instant::now).elapsed() < ROTATION_GRACE {
            return;
        }
        self.moved = None;
        if !away {
            return;
        }
        let path = self.target.name();
        match self.reopen() {
            Ok(()) => tracing::warn!(path, "the audit file was moved without SIGHUP: reopened"),
            Err(error) => {
                let error = error.with_cause();
                tracing::error!(path, error, "the audit file was moved: records still go to the old file");
            }
        }
    }

    /// Takes what somebody else did to the file. A record in a file that was removed is none: a new file takes its place
    /// before anything else is done.
    pub(super) fn changed(&mut self, change: Change) {
        match change {
            Change::Removed => self.replace(),
            Change::Truncated => self.announce_again(),
        }
    }

    /// Looks at the file again, where nobody has for a moment.
    pub(super) fn recheck(&mut self) {
        if let Some(file) = self.due_for_recheck()
            && let Ok(meta) = file.metadata()
        {
            self.observe(&file, &meta);
        }
    }

    /// Before all that waits: a record is preceded by what announced it.
    fn announce_again(&mut self) {
        for intent in self.in_flight.iter().flat_map(|in_flight| in_flight.intents()) {
            self.owed.push_front(intent);
        }
        self.flush();
    }

    /// Opens a file in place of the one that was removed.
    fn replace(&mut self) {
        self.gone = true;
        let path = self.target.name();
        match self.reopen() {
            Ok(()) => tracing::warn!(path, "the audit file was removed: created a new one"),
            Err(error) => self.failed(&io::Error::other(format!("file removed: {}", error.with_cause()))),
        }
    }
}

/// A rotation sends its signal sooner than this.
const ROTATION_GRACE: Duration = Duration::from_secs(5);
