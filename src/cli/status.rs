//! `status`: shows the state of a running proxy, as text or as JSON.

use std::{
    fmt::{self, Display, Write as _},
    io::Write,
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{
    control::ProxyTarget,
    output::{self, Format},
};
use crate::{clock::span, escape::shown};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    target: ProxyTarget,
    /// The output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A freeze in force.
#[derive(Deserialize)]
pub(super) struct Freeze {
    by: String,
    callers: Option<Vec<String>>,
    since: String,
    reason: Option<String>,
    uid: Option<u32>,
    problem: Option<String>,
}

/// The `/status` document, for the text form.
#[derive(Deserialize)]
struct Status {
    version: String,
    uptime_seconds: i64,
    ready: bool,
    draining: bool,
    freeze: Vec<Freeze>,
    admin_problem: Option<String>,
    listeners: Vec<Listener>,
    policy: Policy,
    reload: Reload,
    credentials: Vec<Credential>,
    upstreams: Vec<Upstream>,
    audit: Audit,
    out_of_reach: Vec<String>,
}

/// The text form: the state and the latest decisions.
#[derive(Deserialize)]
struct Shown {
    #[serde(flatten)]
    status: Status,
    decisions: Vec<Value>,
}

#[derive(Deserialize)]
struct Listener {
    name: String,
    address: String,
    certificate_ends: Option<String>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Policy {
    hash: String,
    rules: usize,
    mode: String,
    observing: Vec<String>,
    loaded: String,
}

#[derive(Deserialize)]
struct Reload {
    state: String,
    problem: Option<String>,
    since: String,
}

#[derive(Deserialize)]
struct Credential {
    name: String,
    source: String,
    ready: bool,
    key_hint: Option<String>,
    expires_at: Option<String>,
    held_back_seconds: Option<u64>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Upstream {
    endpoint: String,
    proxy: Option<String>,
    circuit: String,
    clock_problem: Option<String>,
}

#[derive(Deserialize)]
struct Audit {
    sink: String,
    dropped: u64,
    waiting: usize,
    blocked: Option<Blocked>,
}

#[derive(Deserialize)]
struct Blocked {
    error: String,
    since: String,
    refused: u64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let answer = args.target.ask("GET /status", "")?;
    if answer.status != 200 {
        bail!("it answered {}: {}", answer.status, answer.body().trim());
    }
    let text = match args.format {
        Format::Json => answer.body().to_owned(),
        Format::Text => {
            let shown: Shown =
                serde_json::from_str(answer.body()).context("it may be another version of this program")?;
            shown.to_string()
        }
    };
    output::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A problem of a running proxy.
pub(super) struct Complaint {
    pub(super) text: String,
    /// Whether it makes calls fail unintentionally.
    pub(super) fails: bool,
}

/// Returns the problems in a `/status` document.
pub(super) fn complaints(document: Value) -> serde_json::Result<Vec<Complaint>> {
    let status: Status = serde_json::from_value(document)?;
    let complaint = |fails| move |text| Complaint { text, fails };
    let frozen = status.freeze.iter().map(|freeze| format!("it is frozen: {freeze}"));
    let reload = status.reload.problem.iter();
    let reload = reload.map(|problem| format!("its last reload is {}: {problem}", status.reload.state));
    let listeners = status
        .listeners
        .iter()
        .filter_map(|listener| Some(format!("listener {}: {}", listener.name, listener.problem.as_ref()?)));
    let bad = |c: &&Credential| !c.ready || c.held_back_seconds.is_some();
    let credentials = status.credentials.iter().filter(bad).map(|credential| match &credential.problem {
        Some(problem) => format!("credential {credential}: {problem}"),
        None => format!("credential {credential}"),
    });
    let open = status.upstreams.iter().filter(|upstream| upstream.circuit != "closed");
    let open =
        open.map(|upstream| format!("circuit breaker of {} is {}", upstream.endpoint, upstream.circuit));
    let clocks = status.upstreams.iter().filter_map(|upstream| {
        Some(format!("upstream {}: {}", upstream.endpoint, upstream.clock_problem.as_ref()?))
    });
    let audit = status.audit.blocked.iter().map(|blocked| format!("audit records are {blocked}"));
    let failing = listeners.chain(credentials).chain(open).chain(audit).map(complaint(true));
    Ok(failing.chain(clocks.chain(frozen).chain(reload).map(complaint(false))).collect())
}

impl Freeze {
    /// Whether it concerns one of these callers, or anybody if none is named.
    pub(super) fn hits(&self, callers: &[String]) -> bool {
        let frozen = |caller: &String| self.callers.as_ref().is_none_or(|frozen| frozen.contains(caller));
        callers.is_empty() || callers.iter().any(frozen)
    }
}

impl Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = self.callers.as_ref().map_or_else(|| "everybody".into(), |callers| callers.join(", "));
        write!(f, "{scope}, by {} since {}", self.by, self.since)?;
        if let Some(uid) = self.uid {
            write!(f, ", uid {uid}")?;
        }
        for text in [&self.reason, &self.problem].into_iter().flatten() {
            write!(f, ": {}", shown(text))?;
        }
        Ok(())
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.ready, self.draining) {
            (_, true) => "draining",
            (true, false) => "ready",
            (false, false) => "NOT READY",
        };
        writeln!(f, "{state}, version {}, up {}", self.version, span(self.uptime_seconds))?;
        for freeze in &self.freeze {
            writeln!(f, "FROZEN      {freeze}")?;
        }
        for listener in &self.listeners {
            let until = listener.certificate_ends.as_ref().map(|ends| format!(", certificate until {ends}"));
            let text = format!("{} {}{}", listener.name, listener.address, until.unwrap_or_default());
            line(f, "listener", &text, listener.problem.as_ref())?;
        }
        if let Some(problem) = &self.admin_problem {
            line(f, "admin", "", Some(problem))?;
        }
        let Policy { hash, rules, mode, observing, loaded } = &self.policy;
        writeln!(f, "policy      {hash}, {rules} rules, {mode}, loaded {loaded}")?;
        if !observing.is_empty() {
            writeln!(f, "            observed only: {}", observing.join(", "))?;
        }
        if let Some(problem) = &self.reload.problem {
            writeln!(
                f,
                "RELOAD      {} since {}: {}",
                self.reload.state,
                self.reload.since,
                indented(problem)
            )?;
        }
        for credential in &self.credentials {
            line(f, "credential", &credential.to_string(), credential.problem.as_ref())?;
        }
        for Upstream { endpoint, proxy, circuit, clock_problem } in &self.upstreams {
            let by = proxy.as_ref().map(|proxy| format!(" by {proxy}")).unwrap_or_default();
            let problem = (circuit != "closed").then(|| format!("circuit breaker is {circuit}"));
            line(f, "upstream", &format!("{endpoint}{by}"), problem.as_ref())?;
            if clock_problem.is_some() {
                line(f, "clock", endpoint, clock_problem.as_ref())?;
            }
        }
        self.audit.fmt(f)?;
        for path in &self.out_of_reach {
            line(f, "sandbox", path, Some(&"replaced since the start, not readable".into()))?;
        }
        Ok(())
    }
}

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)?;
        self.decisions.iter().rev().take(MAX_DECISIONS).rev().try_for_each(|record| decision(f, record))
    }
}

impl Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {}", self.name, self.source)?;
        if let Some(hint) = &self.key_hint {
            write!(f, ", {hint}…")?;
        }
        if let Some(expires) = &self.expires_at {
            write!(f, ", until {expires}")?;
        }
        if !self.ready {
            f.write_str(", NOT READY")?;
        }
        if let Some(seconds) = self.held_back_seconds {
            write!(f, ", SUSPENDED for {seconds} s: upstream rejected its signatures, replace it")?;
        }
        Ok(())
    }
}

impl Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.sink.clone();
        if self.waiting > 0 {
            write!(text, ", {} records wait", self.waiting)?;
        }
        if self.dropped > 0 {
            write!(text, ", {} dropped", self.dropped)?;
        }
        line(f, "audit", &text, self.blocked.as_ref().map(ToString::to_string).as_ref())
    }
}

impl Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, since, refused } = self;
        write!(f, "blocked since {since}, {refused} calls refused: {error}")
    }
}

/// Writes a line about a component, with its problem if any.
fn line(f: &mut fmt::Formatter<'_>, what: &str, text: &str, problem: Option<&String>) -> fmt::Result {
    let what = if problem.is_some() { what.to_uppercase() } else { what.to_owned() };
    write!(f, "{what:<12}{text}")?;
    if let Some(problem) = problem {
        write!(f, "{}{}", if text.is_empty() { "" } else { ": " }, indented(problem))?;
    }
    writeln!(f)
}

/// Writes one of the latest decisions from its record.
fn decision(f: &mut fmt::Formatter<'_>, record: &Value) -> fmt::Result {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("-");
    let status = record
        .get("http.response.status_code")
        .and_then(Value::as_u64)
        .map_or_else(|| "-".into(), |status| status.to_string());
    write!(f, "decision    {} {} {status} {}", text("timestamp"), text("caller.id"), text("outcome"))?;
    for name in ["policy.rule", "error.reason"] {
        if let Some(word) = record.get(name).and_then(Value::as_str) {
            write!(f, ", {word}")?;
        }
    }
    writeln!(f)
}

/// Indents the lines after the first.
fn indented(text: &str) -> String {
    text.trim_end().lines().map(shown).collect::<Vec<_>>().join("\n            ")
}

/// The maximum number of decisions that are shown.
const MAX_DECISIONS: usize = 5;
