//! The part of the summary that depends on this machine: the route to the cloud, the targets of records and log, the limits
//! that descriptors and memory allow, the drain, and the sandbox.

use std::fmt::{self, Write};

use super::valid::{ValidConfig, endpoints};
use crate::{
    audit::{RecordedFacts, Target, WhenBlocked},
    config::{AuditSettings, Drain, Limits, LogFormat, LogSettings, Settings, format_duration, format_size},
    sandbox::{self, Reach, SHARED, Sandbox},
    server::fit_limits,
    upstream::Endpoint,
};

/// The findings.
#[derive(Debug, Default)]
pub(super) struct Environment {
    /// The text of the summary.
    pub(super) text: String,
    /// Problems that the proxy would report at start.
    pub(super) warnings: Vec<String>,
}

impl Environment {
    /// Examines this machine.
    pub(super) fn of(valid: &ValidConfig) -> Self {
        let mut found = Self::default();
        // Writing to a String cannot fail.
        found.look(valid).unwrap_or_default();
        found
    }

    fn look(&mut self, valid: &ValidConfig) -> fmt::Result {
        self.egress(valid)?;
        let Settings { audit, log, limits, drain, projects, .. } = &valid.settings;
        records(&mut self.text, audit)?;
        self.freezes(valid)?;
        write_log(&mut self.text, log)?;
        self.limits(limits, distinct(projects.iter().map(|project| &project.endpoint)).len())?;
        let Drain { delay, timeout } = drain;
        writeln!(
            self.text,
            "  drain {}, after a delay of {}",
            format_duration(*timeout),
            format_duration(*delay)
        )?;
        self.sandbox(valid)?;
        self.credentials(&valid.settings);
        Ok(())
    }

    fn egress(&mut self, ValidConfig { settings, proxies, .. }: &ValidConfig) -> fmt::Result {
        let text = &mut self.text;
        writeln!(text, "\negress")?;
        for endpoint in distinct(endpoints(settings)) {
            match proxies.to(endpoint) {
                Ok(Some(proxy)) => {
                    writeln!(text, "  {endpoint} through {} ({})", proxy.endpoint(), proxy.named_by())?;
                }
                Ok(None) | Err(_) => writeln!(text, "  {endpoint} directly")?,
            }
        }
        match &settings.upstream.ca_file {
            Some(path) => writeln!(text, "  trusting the built-in roots and {}", path.display()),
            None => writeln!(text, "  trusting the built-in roots"),
        }
    }

    fn freezes(&mut self, ValidConfig { settings, warnings, .. }: &ValidConfig) -> fmt::Result {
        let text = &mut self.text;
        let Some(path) = &settings.freeze_file else {
            return match &settings.admin {
                Some(_) => writeln!(text, "\nfreezes\n  end with the process: no freeze_file"),
                None => Ok(()),
            };
        };
        let path = path.display();
        writeln!(text, "\nfreezes\n  everybody, while {path} exists, unless it names callers")?;
        match (&settings.admin, sandbox::freeze_folder(settings, warnings)) {
            (None, _) => Ok(()),
            (Some(_), Some(_)) => writeln!(text, "  operators' freezes are kept there"),
            (Some(_), None) => {
                let why = "its directory is shared or contains other files, so the sandbox does not open it";
                self.warnings
                    .push(format!("operators' freezes end with the process: cannot write {path}, {why}"));
                writeln!(self.text, "  operators' freezes end with the process")
            }
        }
    }

    /// Writes the limits as `run` would lower them.
    fn limits(&mut self, wanted: &Limits, upstreams: usize) -> fmt::Result {
        let fitted = fit_limits(wanted, upstreams);
        writeln!(self.text, "\nlimits")?;
        let mut lowered = Vec::new();
        for ((name, wanted), (_, fitted)) in spelled(wanted).into_iter().zip(spelled(&fitted)) {
            if wanted == fitted {
                writeln!(self.text, "  {name} {fitted}")?;
            } else {
                writeln!(self.text, "  {name} {fitted}, lowered from {wanted}")?;
                lowered.push(format!("`{name}` to {fitted}"));
            }
        }
        if !lowered.is_empty() {
            let lowered = lowered.join(", ");
            let raise = "raise the open-files limit (systemd: LimitNOFILE=) or the memory of the cgroup \
                         (MemoryMax=, resources.limits)";
            self.warnings.push(format!("this machine allows less than `limits`: lowered {lowered}: {raise}"));
        }
        Ok(())
    }

    fn sandbox(&mut self, ValidConfig { settings, warnings, .. }: &ValidConfig) -> fmt::Result {
        writeln!(self.text, "\nsandbox, unless --no-sandbox is given")?;
        for (measure, state) in Sandbox::tried(settings, warnings).measures() {
            writeln!(self.text, "  {measure} {state}")?;
        }
        let Reach { read, write, shared } = Reach::of(settings, warnings);
        for (does, paths) in [("reads", read), ("writes", write)] {
            for path in paths {
                writeln!(self.text, "  {does} {}", path.display())?;
            }
        }
        let shared = shared.iter().map(|path| format!("{}: {SHARED}", path.display()));
        self.warnings.extend(shared);
        Ok(())
    }

    /// Writes the credentials. The configuration itself warns of missing files.
    fn credentials(&mut self, settings: &Settings) {
        for credential in &settings.credentials {
            if let Some(error) = credential.source.examine().err().filter(|error| error.path().is_none()) {
                let (name, error) = (&credential.name, error.with_causes());
                self.warnings.push(format!("credential `{name}` is not available here: {error}"));
            }
        }
    }
}

fn records(text: &mut String, audit: &AuditSettings) -> fmt::Result {
    let AuditSettings { sink, when_blocked, facts, write_ahead } = audit;
    writeln!(text, "\nrecords")?;
    match sink {
        Target::Stdout => writeln!(text, "  to standard output")?,
        Target::File(path) => writeln!(text, "  to {}, locked against other processes", path.display())?,
    }
    match when_blocked {
        WhenBlocked::Refuse => writeln!(text, "  calls that cannot be recorded are refused")?,
        WhenBlocked::Drop => writeln!(text, "  calls that cannot be recorded are sent, and counted")?,
    }
    match facts {
        RecordedFacts::Values => writeln!(text, "  job facts with values")?,
        RecordedFacts::Names => writeln!(text, "  job facts by name only")?,
    }
    if *write_ahead {
        writeln!(text, "  one line before each call is sent")?;
    }
    Ok(())
}

fn write_log(text: &mut String, LogSettings { format, level }: &LogSettings) -> fmt::Result {
    let format = match format {
        LogFormat::Auto => "text on a terminal, JSON elsewhere",
        LogFormat::Json => "JSON",
        LogFormat::Text => "text",
    };
    writeln!(text, "\nlog\n  to standard error, {format}, level {}", level.as_str().to_lowercase())
}

/// Returns the distinct endpoints in order.
fn distinct<'e>(all: impl Iterator<Item = &'e Endpoint>) -> Vec<&'e Endpoint> {
    let mut found = Vec::new();
    for endpoint in all {
        if !found.contains(&endpoint) {
            found.push(endpoint);
        }
    }
    found
}

/// Returns all limits as written.
fn spelled(limits: &Limits) -> Vec<(&'static str, String)> {
    let Limits {
        connections,
        in_flight,
        header_timeout,
        idle_timeout,
        request_deadline,
        header_bytes,
        headers,
        body_bytes,
        buffer_bytes,
        connection_lifetime,
        connection_requests,
    } = limits;
    vec![
        ("connections", connections.to_string()),
        ("in_flight", in_flight.to_string()),
        ("header_timeout", format_duration(*header_timeout)),
        ("idle_timeout", format_duration(*idle_timeout)),
        ("request_deadline", format_duration(*request_deadline)),
        ("header_bytes", format_size(*header_bytes)),
        ("headers", headers.to_string()),
        ("body_bytes", format_size(*body_bytes)),
        ("buffer_bytes", format_size(*buffer_bytes)),
        ("connection_lifetime", format_duration(*connection_lifetime)),
        ("connection_requests", connection_requests.to_string()),
    ]
}
