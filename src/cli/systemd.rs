//! systemd notifications by `sd_notify(3)`: ready, reloading, stopping, problems, and the watchdog.
//!
//! A thread of its own sends them, so that only it waits if systemd is slow. Without `NOTIFY_SOCKET` nothing is sent.

use std::{convert::Infallible, env, future::pending, io, sync::mpsc, thread, time::Duration};

use sd_notify::NotifyState;
use serde_json::Value;
use tokio::{
    join,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::status;
use crate::server::{ProxyStatus, Running};

/// The service manager that started this process.
pub(super) struct Systemd {
    /// The queue of notifications. `None` without a service manager.
    words: Option<mpsc::SyncSender<Words>>,
    /// The interval of the watchdog.
    watchdog: Option<Duration>,
}

/// One notification.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    change: Option<Change>,
    status: Option<String>,
}

/// A change of the process's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Ready,
    Reloads,
    /// It stops, which may take this long.
    Stops(Duration),
    /// Every serving thread has run a task.
    Serves,
}

impl Systemd {
    /// Reads the environment.
    pub(super) fn of_this_process() -> io::Result<Self> {
        if env::var_os("NOTIFY_SOCKET").is_none() {
            return Ok(Self { words: None, watchdog: None });
        }
        let (words, to_say) = mpsc::sync_channel::<Words>(ROOM);
        let say = move || {
            let mut heard = true;
            for words in to_say {
                let said = words.say();
                if let (Err(error), true) = (&said, heard) {
                    tracing::warn!(%error, "cannot notify systemd of this process's state");
                }
                heard = said.is_ok();
            }
        };
        drop(thread::Builder::new().name("systemd".into()).spawn(say)?);
        Ok(Self { words: Some(words), watchdog: sd_notify::watchdog_enabled() })
    }

    /// Reports the progress of the start.
    pub(super) fn starts(&self, status: &str) {
        self.tell(None, Some(status.into()));
    }

    /// Reports that it accepts.
    pub(super) fn ready(&self, status: &ProxyStatus) {
        if self.words.is_some() {
            self.tell(Some(Change::Ready), Some(summary(status)));
        }
    }

    /// Reports that it stops.
    pub(super) fn stops(&self, running: &Running) {
        self.tell(Some(Change::Stops(running.patience() + MARGIN)), Some("draining".into()));
    }

    /// Reports changes and problems until it is dropped.
    pub(super) async fn attend(&self, running: &Running) -> Infallible {
        if self.words.is_none() {
            return pending().await;
        }
        let (never, _) = join!(self.follow(running.status()), self.feed(running));
        never
    }

    /// Feeds the watchdog for as long as callers are served.
    pub(super) async fn feed(&self, running: &Running) -> Infallible {
        let Some(period) = self.watchdog else { return pending().await };
        loop {
            if timeout(period / 2, running.serves()).await.is_err() {
                tracing::error!("a worker thread is stuck: systemd will end this process unless it recovers");
                running.serves().await;
            }
            self.tell(Some(Change::Serves), None);
            sleep(period / 3).await;
        }
    }

    async fn follow(&self, status: &ProxyStatus) -> Infallible {
        let mut reload = status.reloader().under_way();
        let mut said = summary(status);
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let change = tokio::select! {
                Ok(()) = reload.changed() => Some(if *reload.borrow_and_update() { Change::Reloads } else { Change::Ready }),
                _ = ticks.tick() => None,
            };
            let status = summary(status);
            let news = (said != status).then(|| status.clone());
            if change.is_some() || news.is_some() {
                said = status;
                self.tell(change, news);
            }
        }
    }

    fn tell(&self, change: Option<Change>, status: Option<String>) {
        if let Some(words) = &self.words {
            // A full queue means that nobody has read it for long.
            drop(words.try_send(Words { change, status }));
        }
    }
}

impl Words {
    fn say(&self) -> io::Result<()> {
        let mut states = match self.change {
            None => Vec::new(),
            Some(Change::Ready) => vec![NotifyState::Ready],
            Some(Change::Reloads) => vec![NotifyState::Reloading, NotifyState::monotonic_usec_now()?],
            Some(Change::Stops(patience)) => {
                let micros = u32::try_from(patience.as_micros()).unwrap_or(u32::MAX);
                vec![NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]
            }
            Some(Change::Serves) => vec![NotifyState::Watchdog],
        };
        let status = self.status.as_deref().map(one_line);
        states.extend(status.as_deref().map(NotifyState::Status));
        sd_notify::notify(&states)
    }
}

/// Summarises the problems, worst first, or the lack of them.
fn summary(status: &ProxyStatus) -> String {
    let document = status.condition(false);
    let policy = document.pointer("/policy/hash").and_then(Value::as_str).unwrap_or_default().to_owned();
    match status::complaints(document) {
        Ok(complaints) if complaints.is_empty() => format!("serving, policy {policy}"),
        Ok(complaints) => {
            complaints.into_iter().map(|complaint| complaint.text).collect::<Vec<_>>().join("; ")
        }
        Err(error) => format!("cannot read its state: {error}"),
    }
}

/// Makes a text one line, so that others' texts, such as a freeze's reason, cannot add lines to the protocol.
fn one_line(text: &str) -> String {
    let line = text.chars().take(MAX_STATUS_CHARS).map(|c| if c.is_control() { ' ' } else { c });
    line.collect()
}

/// The size of the queue.
const ROOM: usize = 256;
/// How often problems are checked.
const LOOK: Duration = Duration::from_secs(2);
/// The time to exit, in addition to that for stopping.
const MARGIN: Duration = Duration::from_secs(5);
/// `systemctl status` shows one line.
const MAX_STATUS_CHARS: usize = 500;
