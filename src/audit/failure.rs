//! The failure of a sink that accepts no lines.
//!
//! It is logged when it begins, then every few seconds with the number of refused calls, and when it ends. A slow reader
//! gets a moment first.

use std::{
    io,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};

use super::target::Target;
use crate::{clock, log::LIMITED};

/// The state of a blocked sink, for metrics and `/status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blockage {
    /// The system's error.
    pub error: String,
    /// When it began.
    pub since: DateTime<Utc>,
    /// The number of calls refused since.
    pub refused: u64,
}

/// The current failure of a sink.
pub(super) struct SinkFailure {
    blockage: Blockage,
    /// Whether the only problem is a slow reader, which may catch up, unlike a full disk or a pipe without a reader.
    behind: bool,
    /// When it began, or when the reader last read.
    began: Instant,
    /// When it was last logged.
    said: Option<Instant>,
}

impl SinkFailure {
    pub(super) fn new(error: &io::Error) -> Self {
        let blockage = Blockage { error: error.to_string(), since: clock::now(), refused: 0 };
        Self { blockage, behind: is_behind(error), began: Instant::now(), said: None }
    }

    /// Updates the failure with the latest error.
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

    /// Whether it is more than a reader that is briefly slow.
    pub(super) fn is_stuck(&self) -> bool {
        self.said.is_some() || !self.behind || self.began.elapsed() >= STUCK_AFTER
    }

    /// Notes that something was written, so the reader reads.
    pub(super) fn moved(&mut self) {
        self.began = Instant::now();
    }

    /// Counts a refused call.
    pub(super) fn refused(&mut self) {
        self.blockage.refused += 1;
    }

    pub(super) fn blockage(&self) -> &Blockage {
        &self.blockage
    }

    /// Logs it, if the sink is stuck and this was not logged recently.
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

    /// Logs that it is over, if it was logged.
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

/// The time after which a slow reader counts as stuck.
pub(super) const STUCK_AFTER: Duration = Duration::from_millis(500);
const LOG_INTERVAL: Duration = Duration::from_secs(10);
