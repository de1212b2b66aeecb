//! A sink that takes no line: since when, why, and what the log says of it.
//!
//! It is said once, then every few seconds with how many calls were refused meanwhile, and once when it is over. A
//! reader that is only slow is given a moment first.

use std::{
    io,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::target::Target;
use crate::{clock, log::LIMITED};

/// What keeps a sink from taking lines, for whoever wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockage {
    /// What the system says.
    pub error: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Calls that were refused since.
    pub refused: u64,
}

/// The present trouble of a sink.
pub(super) struct SinkFailure {
    blockage: Blockage,
    /// Only a reader that has not caught up. It may; a full disk does not, nor does a pipe that nobody reads.
    behind: bool,
    /// When it began, or the reader read last.
    began: Instant,
    /// When it was said last.
    said: Option<Instant>,
}

impl SinkFailure {
    pub(super) fn new(error: &io::Error) -> Self {
        let blockage = Blockage { error: error.to_string(), since: clock::now(), refused: 0 };
        Self { blockage, behind: is_behind(error), began: Instant::now(), said: None }
    }

    /// Takes what went wrong now: it may be worse than before, or something else.
    pub(super) fn update(&mut self, error: &io::Error) {
        let behind = is_behind(error);
        if behind != self.behind {
            (self.behind, self.blockage.error) = (behind, error.to_string());
        }
    }

    /// Whether a reader may still catch up.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether it is more than a reader that is slow for a moment.
    pub(super) fn is_stuck(&self) -> bool {
        self.said.is_some() || !self.behind || self.began.elapsed() >= STUCK_AFTER
    }

    /// Something was written: the reader reads.
    pub(super) fn moved(&mut self) {
        self.began = Instant::now();
    }

    /// A call was refused for it.
    pub(super) fn refused(&mut self) {
        self.blockage.refused += 1;
    }

    pub(super) fn blockage(&self) -> &Blockage {
        &self.blockage
    }

    /// Says it, where it is stuck and was not said for a while.
    pub(super) fn log(&mut self, target: &Target, refuse: bool) {
        let Blockage { error, refused, .. } = &self.blockage;
        let path = target.name();
        match self.said {
            None if self.is_stuck() && refuse => {
                tracing::error!(
                    path,
                    error,
                    "the audit sink is blocked: calls are refused until it accepts records"
                );
            }
            None if self.is_stuck() => {
                tracing::error!(target: LIMITED, path, error, "the audit sink is blocked: calls continue unrecorded");
            }
            Some(said) if said.elapsed() >= LOG_INTERVAL => {
                tracing::error!(target: LIMITED, path, error, refused, "the audit sink is still blocked");
            }
            None | Some(_) => return,
        }
        self.said = Some(Instant::now());
    }

    /// Says that it is over, where it was said that there is something.
    pub(super) fn over(&self, target: &Target, dropped: u64) {
        let Blockage { error, refused, .. } = &self.blockage;
        if self.said.is_some() {
            let (path, seconds) = (target.name(), (clock::now() - self.blockage.since).num_seconds());
            tracing::warn!(target: LIMITED, path, error, refused, dropped, seconds, "the audit sink accepts records again");
        }
    }
}

fn is_behind(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A reader that takes longer than this is stuck.
pub(super) const STUCK_AFTER: Duration = Duration::from_millis(500);
const LOG_INTERVAL: Duration = Duration::from_secs(10);
