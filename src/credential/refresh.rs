//! Refreshes a credential ahead of its expiry, when its files change, and when a request needs it.
//!
//! One task drives each renewal and nobody else asks the source, so there is never more than one request to it at a time.
//! Sources know nothing about time. If one fails, the last good value stays in force, and the source is asked again on a
//! timer.

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

/// Refreshes one credential.
pub struct Refresher {
    cached: Arc<CachedCredential>,
    provider: Box<dyn Provide>,
    files: Files,
    /// The number of failures in a row.
    failures: u32,
    /// When the source is asked next. `None` means never.
    next: Option<Instant>,
}

/// The result of asking a source once.
#[derive(Debug)]
pub enum Round {
    /// It gave a new value.
    Changed,
    /// It gave the current value again.
    Same,
    /// It failed with this error, and the last value stays.
    Failed(ProvideError),
}

impl Refresher {
    /// Creates the refreshers of all credentials. Those that others are assumed with come first. Circular ones, which the
    /// configuration rejects, are left out.
    ///
    /// # Errors
    /// If an endpoint of a source has no usable route.
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

    /// Returns the credential that it keeps fresh.
    pub fn cached(&self) -> &Arc<CachedCredential> {
        &self.cached
    }

    /// Returns the files that its source reads, as far as known.
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
                // Calls that wanted a newer value know now that there is none, and need not ask again at once.
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

    /// Waits until the source is to be asked again.
    pub async fn rest(&mut self) {
        // After a failure requests do not trigger a round: they have been told when to try again.
        let answers = self.failures == 0;
        tokio::select! {
            () = until(self.next) => {}
            () = self.cached.wanted(), if answers => {}
            () = changed(&mut self.files) => {}
        }
    }

    /// Asks the source, with files that are complete and do not change meanwhile.
    async fn provided(&mut self) -> Result<Provided, ProvideError> {
        for _ in 0..MAX_READS {
            self.files.follow(self.provider.files());
            self.look().await;
            wait_until_settled(&mut self.files).await?;
            let looks = self.files.snapshot();
            let result = self.provider.provide().await;
            // The list of files may be known only now.
            self.files.follow(self.provider.files());
            self.look().await;
            if self.files.agree_with(&looks) {
                self.files.take();
                return result;
            }
        }
        Err(ProvideError::Unsettled("its files keep changing".into()))
    }

    /// Checks the files. If that hangs, requests that wait for a value are told.
    async fn look(&mut self) {
        let (cached, candidates) = (&self.cached, self.provider.candidates());
        let hangs = |path: &Path| {
            let problem =
                format!("reading {} takes longer than {} s", path.display(), HANG_TIMEOUT.as_secs());
            cached.close_round(Some(problem.into()), candidates, Some(HANG_TIMEOUT));
        };
        self.files.look(hangs).await;
    }

    /// Puts a value in force, if it has not expired.
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
        let locks = matches!(error, ProvideError::WrongPassword(_));
        if locks { ACCOUNT_LOCK } else { pause_after(self.failures, fastrand::f64()) }
    }
}

/// Returns the time until a credential is renewed: 80 % of its life, or 40 minutes before its end if it lives for hours, as
/// in the SDKs. The jitter, from 0 to 1, makes it earlier by up to a twentieth, so that replicas do not all ask at once.
fn renewed_after(life: Duration, jitter: f64) -> Duration {
    let most = life.mul_f64(0.8);
    let most = if life >= LONG_LIFE { most.min(life.saturating_sub(LONG_LIFE_MARGIN)) } else { most };
    most.mul_f64(1.0 - 0.05 * jitter).max(MIN_BACKOFF)
}

/// Returns the pause after failures in a row, which doubles each time, with jitter.
fn pause_after(failures: u32, jitter: f64) -> Duration {
    let doubled = MIN_BACKOFF.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(MAX_BACKOFF).mul_f64(1.0 - 0.5 * jitter)
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Returns when the files change, complete or not.
async fn changed(files: &mut Files) {
    if files.is_empty() {
        return std::future::pending().await;
    }
    // A change from before this call is noticed at once.
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
/// How long IAM locks an account.
const ACCOUNT_LOCK: Duration = Duration::from_secs(15 * 60);
/// The time in which the events of one change arrive.
const CHANGE_DEBOUNCE: Duration = Duration::from_millis(50);
/// How often a source is asked if its files keep changing meanwhile.
const MAX_READS: usize = 3;
/// How long a source that has nothing new is not asked for a newer value.
const UNCHANGED_COOLDOWN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
