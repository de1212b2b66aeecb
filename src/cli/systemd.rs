//! systemd notifications. That it is ready, reloads or stops, what is wrong with it, and that it serves: the protocol
//! of `sd_notify(3)`.
//!
//! A thread of its own says it: where systemd does not listen for a while, that one alone waits. Without `NOTIFY_SOCKET`
//! nothing is said.

use std::{convert::Infallible, env, future::pending, io, sync::mpsc, thread, time::Duration};

use sd_notify::NotifyState;
use serde_json::Value;
use tokio::{
    join,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::status;
use crate::server::{ProxyStatus, Running};

/// Who started this process, and may watch it.
pub(super) struct Systemd {
    /// Where what is said goes; none where nobody listens.
    words: Option<mpsc::SyncSender<Words>>,
    /// How often it must hear that callers are served.
    watchdog: Option<Duration>,
}

/// What is said at once.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    change: Option<Change>,
    status: Option<String>,
}

/// What becomes of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Ready,
    Reloads,
    /// That may take so long.
    Stops(Duration),
    /// Each thread that serves had its turn.
    Serves,
}

impl Systemd {
    /// As the environment says.
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

    /// How far the start has come.
    pub(super) fn starts(&self, status: &str) {
        self.tell(None, Some(status.into()));
    }

    /// It has begun to accept.
    pub(super) fn ready(&self, status: &ProxyStatus) {
        if self.words.is_some() {
            self.tell(Some(Change::Ready), Some(summary(status)));
        }
    }

    /// It begins to stop.
    pub(super) fn stops(&self, running: &Running) {
        self.tell(Some(Change::Stops(running.patience() + MARGIN)), Some("draining".into()));
    }

    /// Says what changes, and what is wrong, until it is dropped.
    pub(super) async fn attend(&self, running: &Running) -> Infallible {
        if self.words.is_none() {
            return pending().await;
        }
        let (never, _) = join!(self.follow(running.status()), self.feed(running));
        never
    }

    /// Says that callers are served, as often as the watchdog wants to hear it, and as long as that is so.
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
            // Where there is no room, nobody has listened for long.
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

/// What is wrong, the worst first; or that nothing is.
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

/// What others wrote, as a reason for a freeze, is no line of the protocol.
fn one_line(text: &str) -> String {
    let line = text.chars().take(MAX_STATUS_CHARS).map(|c| if c.is_control() { ' ' } else { c });
    line.collect()
}

/// For what was not heard yet.
const ROOM: usize = 256;
/// How soon it is said what is wrong.
const LOOK: Duration = Duration::from_secs(2);
/// To exit, besides what stopping may take.
const MARGIN: Duration = Duration::from_secs(5);
/// `systemctl status` shows one line.
const MAX_STATUS_CHARS: usize = 500;
