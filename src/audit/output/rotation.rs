//! Follows the audit file through rotation, removal and truncation, so that records go where people look for them.
//!
//! Announced calls without a record are announced again in the new file, because the next start does not read the old one.

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
    /// Reopens the file, unless it is the open one. Waiting lines go to the new one, including one partly written to the
    /// other.
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

    /// Notices a rotation without SIGHUP, after which records would go into a file that is being compressed.
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

    /// Applies what another process did to the file. A removed file is replaced before anything else, because a record in it
    /// would be lost.
    pub(super) fn changed(&mut self, change: Change) {
        match change {
            Change::Removed => self.replace(),
            Change::Truncated => self.announce_again(),
        }
    }

    /// Checks the file if that is due.
    pub(super) fn recheck(&mut self) {
        if let Some(file) = self.due_for_recheck()
            && let Ok(meta) = file.metadata()
        {
            self.observe(&file, &meta);
        }
    }

    /// Announces open calls again, before all waiting lines, so that each record follows its intent.
    fn announce_again(&mut self) {
        for intent in self.in_flight.iter().flat_map(|in_flight| in_flight.intents()) {
            self.owed.push_front(intent);
        }
        self.flush();
    }

    /// Opens a file in place of a removed one.
    fn replace(&mut self) {
        self.gone = true;
        let path = self.target.name();
        match self.reopen() {
            Ok(()) => tracing::warn!(path, "the audit file was removed: created a new one"),
            Err(error) => self.failed(&io::Error::other(format!("file removed: {}", error.with_cause()))),
        }
    }
}

/// The time in which a rotation sends its signal.
const ROTATION_GRACE: Duration = Duration::from_secs(5);
