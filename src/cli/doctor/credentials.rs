//! Credential checks of `doctor`: asks each source once, as the proxy does.
//!
//! These are real requests: a wrong password counts towards the five that lock a user, and an agency is assumed with a
//! signed request to STS. The credential is discarded, and only what `/status` shows of it is printed.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    finding::{Finding, format_span, rfc3339},
    hints,
};
use crate::{
    clock::{self, Clocks},
    config::{CredentialSettings, Settings},
    credential::{
        CachedCredential, CredentialStatus, ProvideError, ProviderContext, Refresher, Round, Source,
    },
    upstream::{DialerError, Egress},
};

/// A credential whose source was asked.
pub(super) struct ProbedSource {
    name: Arc<str>,
    pub(super) cached: Arc<CachedCredential>,
    state: CredentialStatus,
    /// The files that the source reads.
    pub(super) files: Vec<PathBuf>,
    outcome: Outcome,
    took: Duration,
}

enum Outcome {
    Given,
    Refused(ProvideError),
    Silent,
}

/// Asks all sources concurrently. The results are in no particular order.
pub(super) async fn probe(
    settings: &Settings,
    egress: &Egress,
    clocks: &Clocks,
) -> Result<Vec<ProbedSource>, DialerError> {
    let provider_context = ProviderContext::new(egress, settings.upstream.connect_timeout, clocks);
    let sources = settings.credentials.iter().map(|credential| (&credential.name, &credential.source));
    let asking: JoinSet<ProbedSource> =
        Refresher::all(sources, provider_context)?.into_iter().map(ProbedSource::by).collect();
    Ok(asking.join_all().await)
}

impl ProbedSource {
    async fn by(mut refresher: Refresher) -> Self {
        let started = Instant::now();
        let outcome = match timeout(SOURCE_TIMEOUT, refresher.round()).await {
            Ok(Round::Changed | Round::Same) => Outcome::Given,
            Ok(Round::Failed(error)) => Outcome::Refused(error),
            Err(_) => Outcome::Silent,
        };
        let took = started.elapsed();
        let cached = Arc::clone(refresher.cached());
        let (name, state, files) = (Arc::clone(cached.name()), cached.state(), refresher.files());
        Self { name, cached, state, files, outcome, took }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether calls can be signed with it.
    pub(super) fn is_ready(&self) -> bool {
        self.state.ready
    }

    /// Returns the finding. `settings` are those of the same credential.
    pub(super) fn finding(&self, settings: &CredentialSettings) -> Finding {
        let kind = settings.source.kind();
        let finding = match &self.outcome {
            Outcome::Given => self.given(settings),
            Outcome::Refused(error) => {
                // The sources examined have a line each.
                let nowhere = matches!(error, ProvideError::Nowhere(_));
                let problem = if nowhere { "no source found".into() } else { error.with_causes() };
                let hint = hints::of_source(self.found().unwrap_or(kind), error);
                self.describe(kind, &problem).fail(hint).fact("problem", problem)
            }
            Outcome::Silent => {
                let silence = format!("no answer within {} s", SOURCE_TIMEOUT.as_secs());
                let hint = "its endpoint, or something on the path, accepts data but does not answer";
                self.describe(kind, &silence).fail(hint).fact("problem", silence)
            }
        };
        let candidates = self.state.candidates.iter();
        let passed_over = candidates.filter_map(|look| Some((look.source, look.passed_over.as_ref()?)));
        passed_over
            .fold(finding, |finding, (source, reason)| finding.detail(format!("not {source}: {reason}")))
    }

    fn given(&self, settings: &CredentialSettings) -> Finding {
        let what = match (&self.state.key_hint, settings.source.gives_token()) {
            (_, true) => "a user token".into(),
            (Some(hint), false) => format!("key {hint}…"),
            (None, false) => "a key that does not look like a cloud key".into(),
        };
        let left = self.state.left.and_then(|left| TimeDelta::from_std(left).ok());
        let end = match left {
            Some(left) => format!("expires in {}", format_span(left)),
            None => "has no known expiry".into(),
        };
        let kind = settings.source.kind();
        let mut finding =
            self.describe(kind, &format!("{what}, {end}; came after {} ms", self.took.as_millis()));
        if let Some(base) = settings.source.base() {
            finding = finding.detail(format!("assumed with the credential {base}"));
        }
        if left.is_some_and(|left| left < SHORT) {
            return finding.warn(format!(
                "keys that expire in less than {} leave no time to refresh: set a longer `duration`",
                format_span(SHORT)
            ));
        }
        let age = age_of_token(&settings.source).unwrap_or_default();
        let old = format!("its file is {} old, and a user token expires after 24 hours", format_span(age));
        finding.warn_if(age > TOKEN_LIFE, format!("{old}: check what writes the file"))
    }

    /// Returns a finding with the details that every credential has.
    fn describe(&self, kind: &'static str, what: &str) -> Finding {
        let CredentialStatus { ready, key_hint, expires_at, candidates, .. } = &self.state;
        let candidates: Vec<Value> = candidates
            .iter()
            .map(|each| json!({ "source": each.source, "passed_over": each.passed_over }))
            .collect();
        let found = self.found().filter(|found| *found != kind);
        let source = found.map_or_else(|| kind.to_owned(), |found| format!("{kind}: {found}"));
        Finding::ok("credential", &*self.name, format!("{source}: {what}"))
            .fact("source", kind)
            .fact("ready", *ready)
            .fact("key_hint", key_hint.as_deref())
            .fact("expires_at", expires_at.map(rfc3339))
            .fact("took_ms", millis(self.took))
            .fact("looked_at", candidates)
            .fact("problem", Value::Null)
    }

    /// Returns the source that was chosen automatically.
    fn found(&self) -> Option<&'static str> {
        self.state.candidates.iter().find(|look| look.passed_over.is_none()).map(|look| look.source)
    }
}

/// Returns the age of a token file that something else keeps fresh.
fn age_of_token(source: &Source) -> Option<TimeDelta> {
    let Source::TokenFile(path) = source else { return None };
    let written = fs::metadata(path).ok()?.modified().ok()?;
    Some(clock::now() - chrono::DateTime::<chrono::Utc>::from(written))
}

/// Converts a duration for JSON.
pub(super) fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// The time-out of one request to IAM or STS.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);
const SHORT: TimeDelta = TimeDelta::minutes(5);
const TOKEN_LIFE: TimeDelta = TimeDelta::hours(24);
