//! Refreshes a credential. Ahead of the end of what it gave, when its files change, and when a request needs it.
//!
//! One task drives one renewal, and nobody else asks the source: so there is one request to it at a time, whatever
//! happens. It stands apart from the sources, none of which knows about time. A source that fails leaves the last
//! good value in force and is asked again on a timer of its own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    CachedCredential, Provide, ProvideError, Provided, ProviderContext, Source, read::wait_until_settled,
};
use crate::{
    upstream::DialerError,
    watch::{Files, HANG_TIMEOUT, POLL_INTERVAL, WatchOutcome},
};

/// Asks the source of one credential.
pub struct Refresher {
    cached: Arc<CachedCredential>,
    provider: Box<dyn Provide>,
    files: Files,
    /// Failures in a row.
    failures: u32,
    /// When it is asked again, if nothing else happens. `None` is never.
    next: Option<Instant>,
}

/// What came of asking a source once.
#[derive(Debug)]
pub enum Round {
    /// It gave another value.
    Changed,
    /// It gave the value that is in force.
    Same,
    /// It gave none, for this reason: the last one stays.
    Failed(ProvideError),
}

impl Refresher {
    /// The renewals of credentials that have no value yet, by their names. Those that others are assumed with come
    /// first; of a circle, which the configuration refuses, there are none.
    ///
    /// # Errors
    /// Where there is no way to an endpoint of a source.
    pub fn all<'s>(
        sources: impl IntoIterator<Item = (&'s Arc<str>, &'s Source)>,
        mut provider_context: ProviderContext,
    ) -> Result<Vec<Self>, DialerError> {
        let mut left: Vec<_> = sources.into_iter().collect();
        let mut refreshers = Vec::new();
        loop {
            let bases = &provider_context.bases;
            let (possible, later): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|(_, s)| s.base().is_none_or(|base| bases.contains_key(base)));
            if possible.is_empty() {
                return Ok(refreshers);
            }
            for (name, source) in possible {
                let cached = Arc::new(CachedCredential::new(
                    Arc::clone(name),
                    source.kind(),
                    provider_context.keys.clone(),
                ));
                let provider = source.provider(&provider_context)?;
                provider_context.bases.insert(Arc::clone(name), Arc::clone(&cached));
                refreshers.push(Self::of(cached, provider));
            }
            left = later;
        }
    }

    fn of(cached: Arc<CachedCredential>, provider: Box<dyn Provide>) -> Self {
        let files = Files::new(provider.files());
        let files = if provider.files_are_parts() { files.together() } else { files };
        Self { cached, provider, files, failures: 0, next: None }
    }

    /// What it keeps in force.
    pub fn cached(&self) -> &Arc<CachedCredential> {
        &self.cached
    }

    /// The files that its source reads, as far as they are known now.
    pub fn files(&self) -> Vec<PathBuf> {
        self.provider.files()
    }

    /// Asks the source, once.
    pub async fn round(&mut self) -> Round {
        let result = self.provided().await.and_then(|provided| self.put(provided));
        let candidates = self.provider.candidates();
        match result {
            Ok(changed) => {
                self.failures = 0;
                // Who wanted a newer one knows now that there is none, and need not ask again at once.
                let quiet = (!changed && self.cached.is_wanted()).then_some(UNCHANGED_COOLDOWN);
                self.cached.close_round(None, candidates, quiet);
                if changed { Round::Changed } else { Round::Same }
            }
            Err(error) => {
                let pause = self.pause_after(&error);
                self.next = Some(Instant::now() + pause);
                self.cached.close_round(Some(error.with_causes().into()), candidates, Some(pause));
                Round::Failed(error)
            }
        }
    }

    /// Returns when the source is to be asked again.
    pub async fn rest(&mut self) {
        // A source that failed is left alone: those who want a value have been told when to come back.
        let answers = self.failures == 0;
        tokio::select! {
            () = until(self.next) => {}
            () = self.cached.wanted(), if answers => {}
            () = changed(&mut self.files) => {}
        }
    }

    /// What the source gives, for files that are whole and stay the same while it is asked.
    async fn provided(&mut self) -> Result<Provided, ProvideError> {
        for _ in 0..MAX_READS {
            self.files.follow(self.provider.files());
            self.look().await;
            wait_until_settled(&mut self.files).await?;
            let looks = self.files.snapshot();
            let result = self.provider.provide().await;
            // Asking may have shown which files there are.
            self.files.follow(self.provider.files());
            self.look().await;
            if self.files.agree_with(&looks) {
                self.files.take();
                return result;
            }
        }
        Err(ProvideError::Unsettled("its files keep changing".into()))
    }

    /// Looks at the files. Where that hangs, those who wait for a value are told.
    async fn look(&mut self) {
        let (cached, candidates) = (&self.cached, self.provider.candidates());
        let hangs = |path: &Path| {
            let problem =
                format!("reading {} takes longer than {} s", path.display(), HANG_TIMEOUT.as_secs());
            cached.close_round(Some(problem.into()), candidates, Some(HANG_TIMEOUT));
        };
        self.files.look(hangs).await;
    }

    /// Puts what came in force, if it has not expired.
    fn put(&mut self, provided: Provided) -> Result<bool, ProvideError> {
        let life = match &provided.expires_at {
            None => None,
            Some(end) => {
                let life = (end.at - end.clock.now()).to_std().ok().filter(|life| !life.is_zero());
                Some(life.ok_or(ProvideError::Expired)?)
            }
        };
        self.next = life.map(|life| Instant::now() + renewed_after(life, fastrand::f64()));
        Ok(self.cached.put(provided, life))
    }

    fn pause_after(&mut self, error: &ProvideError) -> Duration {
        self.failures += 1;
        let locks = matches!(error, ProvideError::WrongPassword { .. });
        if locks { ACCOUNT_LOCK } else { pause_after(self.failures, fastrand::f64()) }
    }
}

/// How long a credential that lives so long is used before a new one is fetched: 80 % of its life. Of one that lives
/// for hours at least 40 minutes are left, as the SDKs leave them. The jitter, from 0 to 1, makes it earlier by up to
/// a twentieth, so that the replicas of a fleet do not all ask at once.
fn renewed_after(life: Duration, jitter: f64) -> Duration {
    let most = life.mul_f64(0.8);
    let most = if life >= LONG_LIFE { most.min(life.saturating_sub(LONG_LIFE_MARGIN)) } else { most };
    most.mul_f64(1.0 - 0.05 * jitter).max(MIN_BACKOFF)
}

/// How long to wait after so many failures in a row: twice as long each time, with jitter.
fn pause_after(failures: u32, jitter: f64) -> Duration {
    let doubled = MIN_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(MAX_BACKOFF).mul_f64(1.0 - 0.5 * jitter)
}

/// Returns at that time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Returns when the files hold something new, whole or not.
async fn changed(files: &mut Files) {
    if files.is_empty() {
        return std::future::pending().await;
    }
    // What changed while nobody looked is seen at once.
    loop {
        files.look(|_| {}).await;
        if files.state() != WatchOutcome::Same {
            return;
        }
        tokio::select! {
            () = files.changed() => sleep(CHANGE_DEBOUNCE).await,
            () = sleep(POLL_INTERVAL) => {}
        }
    }
}

const LONG_LIFE: Duration = Duration::from_secs(2 * 60 * 60);
const LONG_LIFE_MARGIN: Duration = Duration::from_secs(40 * 60);
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// As long as IAM locks an account.
const ACCOUNT_LOCK: Duration = Duration::from_secs(15 * 60);
/// What belongs to a change comes sooner than this.
const CHANGE_DEBOUNCE: Duration = Duration::from_millis(50);
/// How often files may change while a source is asked.
const MAX_READS: usize = 3;
/// For how long a source that has nothing new is not asked for something new.
const UNCHANGED_COOLDOWN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
