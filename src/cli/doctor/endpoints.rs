//! Endpoint checks of `doctor`: DNS, TCP, TLS and one HTTP request, on the same route as calls; and the clock.
//!
//! The request is `HEAD /` without a credential, a signature or a project. The gateway answers that there is no such API;
//! that counts towards nothing, and its `Date` shows its clock.

use std::{
    collections::HashSet,
    error::Error,
    iter::successors,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use chrono::TimeDelta;
use http::{
    Method, Request,
    header::{ACCEPT, HOST, USER_AGENT},
};
use http_body_util::Full;
use rustls::ProtocolVersion;
use serde_json::Value;
use tokio::{
    net::lookup_host,
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    certificate::{self, Certificate},
    credentials::millis,
    finding::{CheckStatus, Finding, format_span},
    hints,
};
use crate::{
    clock::{Clocks, Skew, TOLERATED},
    config::{Settings, reason},
    credential::Source,
    upstream::{
        Diagnosis, DialError, DialerError, Egress, Endpoint, Outbound, SendError, Timeouts, UpstreamAnswer,
        diagnose,
    },
};

/// An endpoint that was asked.
pub(super) struct ProbedEndpoint {
    pub(super) endpoint: Endpoint,
    /// The addresses of the host or the egress proxy. `None` if it is an address already.
    resolved: Option<(Result<Vec<IpAddr>, String>, Duration)>,
    /// The egress proxy, if any.
    proxy: Option<Endpoint>,
    diagnosis: Diagnosis,
}

/// Asks the endpoints of all projects, and the configured ones of IAM and STS, concurrently.
pub(super) async fn probe(
    settings: &Settings,
    egress: &Egress,
    clocks: &Clocks,
) -> Result<Vec<ProbedEndpoint>, DialerError> {
    let upstream = &settings.upstream;
    let attempt = upstream.attempt_timeout.min(ENDPOINT_TIMEOUT);
    let timeouts = Timeouts { connect: upstream.connect_timeout.min(attempt), attempt };
    let wanted = endpoints(settings);
    let mut asking = JoinSet::new();
    for endpoint in wanted.clone() {
        let clock = clocks.of(&endpoint.to_string());
        asking.spawn(ProbedEndpoint::by(endpoint, egress.clone(), timeouts, clock));
    }
    let mut reached = asking.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    reached.sort_by_key(|reached| wanted.iter().position(|endpoint| *endpoint == reached.endpoint));
    Ok(reached)
}

/// Returns the distinct endpoints. Link-local ones are left out, because the credential checks cover them.
fn endpoints(settings: &Settings) -> Vec<Endpoint> {
    let sources = settings.credentials.iter().map(|credential| &credential.source);
    let sources = sources
        .filter(|source| !matches!(source, Source::Metadata(_) | Source::Profile { .. }))
        .filter_map(Source::endpoint);
    let all = settings.projects.iter().map(|project| &project.endpoint).chain(sources);
    let mut known = HashSet::new();
    all.filter(|endpoint| known.insert(*endpoint)).cloned().collect()
}

impl ProbedEndpoint {
    async fn by(
        endpoint: Endpoint,
        egress: Egress,
        timeouts: Timeouts,
        skew: Skew,
    ) -> Result<Self, DialerError> {
        let proxy = egress.proxies.to(&endpoint)?.map(|proxy| proxy.endpoint().clone());
        let request = question(&endpoint);
        let dialled = proxy.as_ref().unwrap_or(&endpoint);
        let (resolved, diagnosis) =
            tokio::join!(resolve(dialled), diagnose(&endpoint, &egress, timeouts, request));
        let diagnosis = diagnosis?;
        if let Ok((answer, took)) = &diagnosis.answer
            && let Some(date) = answer.date()
        {
            skew.learn(date, *took);
        }
        Ok(Self { endpoint, resolved, proxy, diagnosis })
    }

    /// Whether calls would reach it.
    pub(super) fn is_reached(&self) -> bool {
        self.findings().iter().all(|finding| finding.verdict != CheckStatus::Fail)
    }

    /// Whether its answer had a `Date`.
    pub(super) fn told_the_time(&self) -> bool {
        self.diagnosis.answer.as_ref().is_ok_and(|(answer, _)| answer.date().is_some())
    }

    /// Returns one finding per step, up to the first that failed.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let Diagnosis { reached, secured, answer, .. } = &self.diagnosis;
        let failure = answer.as_ref().err();
        let resolved = self.resolved.as_ref().map(|(found, took)| self.dns(found, *took));
        let unresolved = matches!(failure, Some(SendError::Dial(DialError::Dns(_))));
        let tcp = (!unresolved || self.resolved.is_none()).then(|| self.tcp(*reached, failure));
        let tls = reached.is_some().then(|| self.tls(*secured, failure));
        let talks = reached.is_some() && (secured.is_some() || !self.endpoint.tls());
        let http = talks.then(|| self.http(answer.as_ref()));
        resolved.into_iter().chain(tcp).chain(tls).chain(http).collect()
    }

    fn dns(&self, found: &Result<Vec<IpAddr>, String>, took: Duration) -> Finding {
        let addresses: Vec<String> = found.iter().flatten().map(IpAddr::to_string).collect();
        let message = match found {
            Ok(_) => format!("{}; after {} ms", addresses.join(", "), took.as_millis()),
            Err(error) => error.clone(),
        };
        let host = self.proxy.as_ref().unwrap_or(&self.endpoint).host();
        self.finding("dns", message)
            .fact("host", host)
            .fact("addresses", addresses)
            .fact("took_ms", millis(took))
            .fail_if(found.is_err(), hints::CHECK_NAME)
    }

    fn tcp(&self, reached: Option<(SocketAddr, Duration)>, failure: Option<&SendError>) -> Finding {
        let proxy = self.proxy.as_ref().map(Endpoint::to_string);
        let through = proxy.as_ref().map(|proxy| format!(", through {proxy}")).unwrap_or_default();
        let (address, took) = reached.unzip();
        let message = match (reached, failure) {
            (Some((address, took)), _) => format!("{address}{through}, after {} ms", took.as_millis()),
            (None, Some(error)) => format!("{}{through}", with_causes(error)),
            (None, None) => "unknown address".into(),
        };
        let finding = self
            .finding("tcp", message)
            .fact("address", address.map(|address| address.to_string()))
            .fact("proxy", proxy)
            .fact("took_ms", took.map(millis));
        match failure {
            Some(error) if reached.is_none() => finding.fail(hints::of_sending(error)),
            Some(_) | None => finding,
        }
    }

    fn tls(&self, secured: Option<(ProtocolVersion, Duration)>, failure: Option<&SendError>) -> Finding {
        if !self.endpoint.tls() {
            let finding = self.finding("tls", "none: plain text").fact("protocol", Value::Null);
            return finding.warn_if(!self.endpoint.is_loopback(), "use https://, except for a test server");
        }
        let certificate = self.diagnosis.certificate.as_ref().and_then(Certificate::read);
        let described = |finding| certificate.iter().fold(finding, |finding, found| found.describe(finding));
        let Some((version, took)) = secured else {
            let (problem, hint) = match failure {
                Some(SendError::Dial(DialError::Tls(error))) => {
                    certificate::failure(error, certificate.as_ref())
                }
                Some(error) => (with_causes(error), hints::of_sending(error)),
                None => ("no version agreed".into(), "find out what answers there".into()),
            };
            return described(self.finding("tls", problem).fact("protocol", Value::Null)).fail(hint);
        };
        let version = if version == ProtocolVersion::TLSv1_2 { "1.2" } else { "1.3" };
        let summary = certificate.as_ref().map(Certificate::summary).unwrap_or_default();
        let message = format!("TLS {version}, {summary}; after {} ms", took.as_millis());
        let finding = self.finding("tls", message).fact("protocol", version).fact("took_ms", millis(took));
        let ends_soon = certificate.as_ref().is_some_and(Certificate::ends_soon);
        described(finding).warn_if(ends_soon, "make sure its operator renews the certificate in time")
    }

    fn http(&self, answer: Result<&(UpstreamAnswer, Duration), &SendError>) -> Finding {
        let (answer, took) = match answer {
            Ok(answered) => answered,
            Err(error) => {
                let finding = self.finding("http", with_causes(error)).fact("status", Value::Null);
                return finding.fail(hints::of_sending(error));
            }
        };
        let message =
            format!("answers (`HEAD /`: {}), after {} ms", answer.status.as_u16(), took.as_millis());
        self.finding("http", message)
            .fact("status", answer.status.as_u16())
            .fact("took_ms", millis(*took))
            .warn_if(answer.status.is_server_error(), "server-side problem: try again later")
    }

    fn finding(&self, check: &'static str, message: impl Into<String>) -> Finding {
        Finding::ok(check, self.endpoint.to_string(), message)
    }
}

/// Compares this machine's clock with that of the endpoint that differs most.
pub(super) fn clock(clocks: &Clocks, reached: &[ProbedEndpoint]) -> Finding {
    let clocks = clocks.all();
    let furthest = clocks.iter().max_by_key(|skew| skew.measured().abs());
    let measured = furthest.map_or(TimeDelta::zero(), Skew::measured);
    let direction = if measured > TimeDelta::zero() { "behind" } else { "ahead" };
    let off = format!("its clock is {} {direction}", format_span(measured));
    let finding = |message: String| {
        Finding::ok("clock", "this machine", message).fact("skew_seconds", measured.num_seconds())
    };
    if measured.is_zero() {
        return match reached.iter().any(ProbedEndpoint::told_the_time) {
            true => finding("its clock agrees with the cloud's, within seconds".into()),
            false => finding("no answer carried the time".into()).warn("make an endpoint reachable"),
        };
    }
    if measured.abs() < TOLERATED {
        return finding(format!("{off}; signatures use the cloud's")).warn(
            "set it, and synchronize it with NTP: the policy's times and callers' tokens depend on it",
        );
    }
    finding(format!("{off}; signatures use the cloud's, corrected by at most a day"))
        .fail("set it, and synchronize it with NTP")
}

/// Returns a request that cannot be taken for a call.
fn question(endpoint: &Endpoint) -> Outbound {
    let request = Request::builder()
        .method(Method::HEAD)
        .uri("/")
        .header(HOST, endpoint.authority())
        .header(USER_AGENT, concat!("mpc-auth-proxy/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json");
    // Every endpoint's host is a valid header value.
    request.body(Full::<Bytes>::default()).unwrap_or_default()
}

async fn resolve(endpoint: &Endpoint) -> Option<(Result<Vec<IpAddr>, String>, Duration)> {
    if endpoint.host().parse::<IpAddr>().is_ok() {
        return None;
    }
    let started = Instant::now();
    let found = match timeout(ENDPOINT_TIMEOUT, lookup_host((endpoint.host(), endpoint.port()))).await {
        Ok(Ok(addresses)) => Ok(addresses.map(|address| address.ip()).collect()),
        Ok(Err(error)) => Err(format!("cannot resolve the host name: {}", reason(&error))),
        Err(_) => Err("resolving the host name timed out".into()),
    };
    Some((found, started.elapsed()))
}

fn with_causes(error: &SendError) -> String {
    let causes = successors(error.source(), |cause| (*cause).source()).map(ToString::to_string);
    causes.fold(
        error.to_string(),
        |told, cause| {
            if told.ends_with(&cause) { told } else { format!("{told}: {cause}") }
        },
    )
}

/// The time for all steps. A slower endpoint is too slow for calls, too.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(5);
