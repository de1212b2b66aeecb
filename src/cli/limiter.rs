//! Limits log lines that strangers can cause: the first of each cause passes, the others are counted.
//!
//! A cause is a place in the source with the line's `error`, or the `place` of a panic. The number of causes is bounded, so
//! that a stranger who varies the error cannot fill the memory; further ones are counted by their place in the source alone.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::log::LIMITED;

/// Suppresses lines and counts them.
#[derive(Clone, Default)]
pub(super) struct Limiter(Arc<Mutex<Causes>>);

#[derive(Default)]
struct Causes(HashMap<Cause, Count>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Cause {
    place: Identifier,
    /// `None` if there are too many causes.
    error: Option<String>,
}

/// The lines of one cause since its first.
struct Count {
    since: Instant,
    lines: u64,
    level: Level,
    message: String,
}

/// The summary of suppressed lines.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    level: Level,
    message: String,
    error: Option<String>,
    more: u64,
    seconds: u64,
}

impl Limiter {
    /// Returns when the next summary may be due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.lock().0.values().map(|count| count.since + INTERVAL).min()
    }

    /// Logs how many lines were suppressed in the intervals that are over by `now`.
    pub(super) fn log_summary(&self, now: Instant) {
        let summaries = self.0.lock().over(now, INTERVAL);
        summaries.into_iter().for_each(Summary::log_summary);
    }

    /// Logs the summaries of all suppressed lines.
    pub(super) fn tell_all(&self) {
        let summaries = self.0.lock().over(Instant::now(), Duration::ZERO);
        summaries.into_iter().for_each(Summary::log_summary);
    }
}

impl<S: Subscriber> Layer<S> for Limiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let meta = event.metadata();
        if meta.target() != LIMITED {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().admit(meta, line, Instant::now())
    }
}

impl Causes {
    /// Whether the line is the first of its cause.
    fn admit(&mut self, meta: &Metadata<'_>, line: Line, now: Instant) -> bool {
        let mut cause = Cause { place: meta.callsite(), error: Some(line.error) };
        if self.0.len() >= MAX_CAUSES && !self.0.contains_key(&cause) {
            cause.error = None;
        }
        let (level, message) = (*meta.level(), line.message);
        let count = self.0.entry(cause).or_insert(Count { since: now, lines: 0, level, message });
        count.lines += 1;
        count.lines == 1
    }

    /// Forgets the causes that are older than `interval`, and returns the summaries of those with suppressed lines.
    fn over(&mut self, now: Instant, interval: Duration) -> Vec<Summary> {
        let over = self.0.extract_if(|_, count| now.saturating_duration_since(count.since) >= interval);
        over.filter(|(_, count)| count.lines > 1)
            .map(|(cause, count)| Summary {
                level: count.level,
                message: count.message,
                error: cause.error.filter(|error| !error.is_empty()),
                more: count.lines - 1,
                seconds: now.saturating_duration_since(count.since).as_secs(),
            })
            .collect()
    }
}

impl Summary {
    fn log_summary(self) {
        let Self { level, message, error, more, seconds } = self;
        // Each level has a macro of its own.
        macro_rules! log {
            ($at:ident) => {
                tracing::$at!(more, seconds, error, "{message}: and {more} more in the last {seconds} s")
            };
        }
        match level {
            Level::ERROR => log!(error),
            Level::WARN => log!(warn),
            Level::INFO => log!(info),
            _ => log!(debug),
        }
    }
}

/// The fields that identify the cause of a line.
#[derive(Default)]
struct Line {
    message: String,
    error: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" | "place" => self.error = format!("{value:?}"),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if matches!(field.name(), "error" | "place") {
            value.clone_into(&mut self.error);
        }
    }
}

/// The interval in which one line of a cause passes.
const INTERVAL: Duration = Duration::from_secs(10);
const MAX_CAUSES: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tracing_subscriber::{Registry, layer::SubscriberExt};

    use super::*;

    /// Counts the lines that pass.
    #[derive(Clone, Default)]
    struct Written(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn logged(act: impl FnOnce()) -> (usize, Limiter) {
        let (written, limiter) = (Written::default(), Limiter::default());
        let log = Registry::default().with(written.clone()).with(limiter.clone());
        tracing::subscriber::with_default(log, act);
        (written.0.load(Relaxed), limiter)
    }

    fn fails(error: &str) {
        tracing::info!(target: LIMITED, %error, peer = fastrand::u32(..), "it failed");
    }

    #[test]
    fn the_first_line_of_each_cause_is_written_and_the_others_counted() {
        let (written, limiter) = logged(|| {
            for _ in 0..1000 {
                fails("early");
            }
            for _ in 0..3 {
                fails("late");
            }
            for _ in 0..20 {
                tracing::info!("not limited");
                tracing::warn!(target: LIMITED, "another place");
            }
        });
        assert_eq!(written, 1 + 1 + 20 + 1);
        let now = Instant::now();
        assert_eq!(limiter.0.lock().over(now, INTERVAL), [], "not yet");
        assert!(limiter.due().is_some_and(|due| due > now && due <= now + INTERVAL));
        let mut summaries = limiter.0.lock().over(now + INTERVAL, INTERVAL);
        summaries.sort_by_key(|summary| summary.more);
        let summary = |level, message: &str, error: Option<&str>, more| Summary {
            level,
            message: message.into(),
            error: error.map(Into::into),
            more,
            seconds: summaries[0].seconds,
        };
        let expected = [
            summary(Level::INFO, "it failed", Some("late"), 2),
            summary(Level::WARN, "another place", None, 19),
            summary(Level::INFO, "it failed", Some("early"), 999),
        ];
        assert_eq!(summaries, expected);
        assert_eq!(limiter.due(), None, "all of it is forgotten");
    }

    #[test]
    fn a_stranger_that_varies_the_cause_gets_no_more_lines_than_there_are_causes() {
        let (written, limiter) = logged(|| (0..10_000).for_each(|n| fails(&n.to_string())));
        assert_eq!(written, MAX_CAUSES + 1);
        assert_eq!(limiter.0.lock().0.len(), MAX_CAUSES + 1);
        let summaries = limiter.0.lock().over(Instant::now(), Duration::ZERO);
        assert_eq!(summaries.iter().map(|summary| summary.more).sum::<u64>(), 10_000 - 64 - 1);
    }

    #[test]
    fn many_threads_that_fail_at_once_are_all_counted() {
        let (written, limiter) = (Written::default(), Limiter::default());
        let log = tracing::Dispatch::new(Registry::default().with(written.clone()).with(limiter.clone()));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    tracing::dispatcher::with_default(&log, || (0..1000).for_each(|_| fails("at once")));
                });
            }
        });
        assert_eq!(written.0.load(Relaxed), 1);
        assert_eq!(limiter.0.lock().over(Instant::now(), Duration::ZERO)[0].more, 7999);
    }
}
