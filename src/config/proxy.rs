//! What does `proxy.yaml` say? Its sections as they were written, each value read on its own.
//!
//! Whether names fit together is not asked here: see `link`.

use super::alone::Addresses;
use super::credentials;
use super::decode::{Fields, list};
use super::files;
use super::listener;
use super::page::{Page, Placed};
use super::project;
use super::scalar;
use super::settings::*;
use super::upstream;
use super::yaml::{Node, Value};
use crate::audit::{RecordedFacts, Target, WhenBlocked};
use crate::operation::LARGEST_ANSWER;
use crate::policy::Scope;
use crate::upstream::{Endpoint, EndpointError};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;
use tracing::Level;

/// `proxy.yaml` as it was written. What could not be read is missing and reported.
#[derive(Default)]
pub(super) struct Written {
    pub(super) policy: Option<Placed<String>>,
    pub(super) listeners: Vec<listener::Written>,
    pub(super) ops: Option<Placed<Ops>>,
    pub(super) admin: Option<Admin>,
    pub(super) freeze_file: Option<PathBuf>,
    pub(super) projects: Vec<project::Written>,
    pub(super) credentials: Vec<credentials::Written>,
    pub(super) upstream: UpstreamSettings,
    pub(super) limits: Limits,
    pub(super) drain: Drain,
    pub(super) audit: AuditSettings,
    pub(super) log: LogSettings,
}

impl Written {
    /// The projects that could be read, by name and id.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        self.projects.iter().filter_map(project::Written::scope).collect()
    }
}

/// Reads the whole file.
pub(super) fn read(page: &Page, root: &Node) -> Option<Written> {
    let mut fields = Fields::of(page, root, "proxy.yaml")?;
    fields.required(("version", "1"), version);
    let mut written = Written {
        policy: fields.required(("policy", "policy.yaml"), |page, node| {
            let path = scalar::text(page, node, "the path of a file")?;
            Some(Placed { value: path.to_owned(), place: node.place })
        }),
        listeners: fields
            .required(("listeners", "[ { name: app, bind: 127.0.0.1:8080 } ]"), |page, node| {
                Some(
                    list(page, node, "a list of listeners")
                        .iter()
                        .filter_map(|n| listener::read(page, n))
                        .collect(),
                )
            })
            .unwrap_or_default(),
        projects: fields
            .required(
                ("projects", "[ { name: …, id: …, endpoint: …, credential: … } ]"),
                |page, node| {
                    Some(
                        list(page, node, "a list of projects")
                            .iter()
                            .filter_map(|n| project::read(page, n))
                            .collect(),
                    )
                },
            )
            .unwrap_or_default(),
        ops: fields.optional("ops", ops),
        admin: fields.optional("admin", listener::admin),
        freeze_file: fields.optional("freeze_file", file_to_look_for),
        upstream: fields.optional("upstream", upstream::read).unwrap_or_default(),
        limits: fields.optional("limits", limits).unwrap_or_default(),
        drain: fields.optional("drain", drain).unwrap_or_default(),
        audit: fields.optional("audit", audit).unwrap_or_default(),
        log: fields.optional("log", log).unwrap_or_default(),
        credentials: Vec::new(),
    };
    // After the projects: what a credential is for may say where to get it.
    let read = |page, node| credentials::read(page, node, &written.projects);
    let found = fields.required(("credentials", "{ prod: { environment: {} } }"), read);
    written.credentials = found.unwrap_or_default();
    fields.finish();
    Some(written)
}

/// Reads the names and ids of the projects, and nothing else.
pub(super) fn read_scopes(page: &Page, root: &Node) -> Option<Vec<Scope>> {
    let mut fields = Fields::of(page, root, "proxy.yaml")?;
    fields.required(("projects", "[ { name: …, id: … } ]"), |page, node| {
        Some(list(page, node, "a list of projects").iter().filter_map(|node| scope(page, node)).collect())
    })
}

/// Reads where probes and operators are answered, and nothing else.
pub(super) fn read_addresses(page: &Page, root: &Node) -> Option<Addresses> {
    let mut fields = Fields::of(page, root, "proxy.yaml")?;
    let ops = fields.optional("ops", ops).map(|ops| ops.value);
    Some(Addresses { ops, admin: fields.optional("admin", listener::admin) })
}

fn scope(page: &Page, node: &Node) -> Option<Scope> {
    let mut fields = Fields::of(page, node, "a project")?;
    let name = fields.required(("name", "media-prod"), scalar::name);
    let id = fields.required(("id", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"), scalar::name);
    Some(Scope { name: name?.value, id: id?.value })
}

/// A file that may come and go, and its directory with it.
fn file_to_look_for(page: &Page, node: &Node) -> Option<PathBuf> {
    Some(page.resolve(scalar::text(page, node, "the path of a file")?))
}

/// The version of the file's format, in both files.
pub(super) fn version(page: &Page, node: &Node) -> Option<()> {
    if matches!(node.value, Value::Integer(1)) {
        return Some(());
    }
    page.error(node.place, "not a version that this program knows", "write `version: 1`");
    None
}

fn ops(page: &Page, node: &Node) -> Option<Placed<Ops>> {
    let mut fields = Fields::of(page, node, "`ops`")?;
    let bind = fields.required(("bind", "127.0.0.1:9090"), listener::socket_address);
    let hosts = fields.optional("hosts", listener::hosts).unwrap_or(Hosts::Names(Vec::new()));
    fields.finish();
    let Placed { value: bind, place } = bind?;
    Some(Placed { value: Ops { bind, hosts }, place })
}

/// An endpoint; the example is one of its kind.
pub(super) fn endpoint(page: &Page, node: &Node, example: &str) -> Option<Placed<Endpoint>> {
    let text = scalar::text(page, node, &format!("an endpoint such as {example}"))?;
    let error = match Endpoint::parse(text) {
        Ok(endpoint) => return Some(Placed { value: endpoint, place: node.place }),
        Err(error) => error,
    };
    let hint = match error {
        EndpointError::Scheme if !text.contains("://") => format!("write https://{text}"),
        EndpointError::Scheme
        | EndpointError::MoreThanOrigin
        | EndpointError::Host
        | EndpointError::Address
        | EndpointError::Label
        | EndpointError::Port => {
            format!("for instance {example}")
        }
    };
    page.error(node.place, error.to_string(), hint);
    None
}

fn limits(page: &Page, node: &Node) -> Option<Limits> {
    let mut fields = Fields::of(page, node, "`limits`")?;
    let default = Limits::default();
    let limits = Limits {
        connections: number(&mut fields, "connections", 1..=1_000_000).unwrap_or(default.connections),
        in_flight: number(&mut fields, "in_flight", 1..=1_000_000).unwrap_or(default.in_flight),
        header_timeout: fields.optional("header_timeout", timeout).unwrap_or(default.header_timeout),
        idle_timeout: fields.optional("idle_timeout", timeout).unwrap_or(default.idle_timeout),
        request_deadline: fields.optional("request_deadline", timeout).unwrap_or(default.request_deadline),
        header_bytes: fields
            .optional("header_bytes", |page, node| {
                usize::try_from(scalar::size(page, node, HEADER_BYTES)?).ok()
            })
            .unwrap_or(default.header_bytes),
        headers: number(&mut fields, "headers", 8..=1000).unwrap_or(default.headers),
        buffer_bytes: fields
            .optional("buffer_bytes", |page, node| {
                usize::try_from(scalar::size(page, node, BUFFER_BYTES)?).ok()
            })
            .unwrap_or(default.buffer_bytes),
        connection_lifetime: fields
            .optional("connection_lifetime", |page, node| {
                scalar::duration(page, node, Duration::from_millis(10)..=DAY)
            })
            .unwrap_or(default.connection_lifetime),
        connection_requests: number(&mut fields, "connection_requests", 1..=1_000_000_000)
            .unwrap_or(default.connection_requests),
    };
    fields.finish();
    Some(limits)
}

fn number(fields: &mut Fields<'_>, key: &'static str, range: RangeInclusive<u64>) -> Option<usize> {
    fields.optional(key, |page, node| usize::try_from(scalar::count(page, node, range)?).ok())
}

fn drain(page: &Page, node: &Node) -> Option<Drain> {
    let mut fields = Fields::of(page, node, "`drain`")?;
    let default = Drain::default();
    let drain = Drain {
        delay: fields
            .optional("delay", |page, node| scalar::duration(page, node, Duration::ZERO..=LONGEST))
            .unwrap_or(default.delay),
        timeout: fields.optional("timeout", timeout).unwrap_or(default.timeout),
    };
    fields.finish();
    Some(drain)
}

fn audit(page: &Page, node: &Node) -> Option<AuditSettings> {
    let mut fields = Fields::of(page, node, "`audit`")?;
    let default = AuditSettings::default();
    let write_ahead = fields.optional("write_ahead", |page, node| {
        Some(Placed { value: scalar::switch(page, node)?, place: node.place })
    });
    let audit = AuditSettings {
        sink: fields
            .optional("sink", |page, node| match scalar::text(page, node, "stdout, or the path of a file")? {
                "stdout" => Some(Target::Stdout),
                _ => files::to_write(page, node).map(Target::File),
            })
            .unwrap_or(default.sink),
        when_blocked: fields
            .optional("when_blocked", |page, node| {
                scalar::choice(page, node, &[("refuse", WhenBlocked::Refuse), ("drop", WhenBlocked::Drop)])
            })
            .unwrap_or(default.when_blocked),
        facts: fields
            .optional("facts", |page, node| {
                let words = [("values", RecordedFacts::Values), ("names", RecordedFacts::Names)];
                scalar::choice(page, node, &words)
            })
            .unwrap_or(default.facts),
        write_ahead: write_ahead.as_ref().map_or(default.write_ahead, |written| written.value),
    };
    fields.finish();
    if let (Some(Placed { value: true, place }), WhenBlocked::Drop) = (write_ahead, audit.when_blocked) {
        let message = "`write_ahead: true` lets no call go unrecorded, and `when_blocked: drop` does";
        page.error(place, message, "remove one of them");
    }
    Some(audit)
}

fn log(page: &Page, node: &Node) -> Option<LogSettings> {
    let mut fields = Fields::of(page, node, "`log`")?;
    let default = LogSettings::default();
    let formats = [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)];
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    let log = LogSettings {
        format: fields
            .optional("format", |p, node| scalar::choice(p, node, &formats))
            .unwrap_or(default.format),
        level: fields.optional("level", |p, node| scalar::choice(p, node, &levels)).unwrap_or(default.level),
    };
    fields.finish();
    Some(log)
}

pub(super) fn timeout(page: &Page, node: &Node) -> Option<Duration> {
    scalar::duration(page, node, Duration::from_millis(10)..=LONGEST)
}

/// Nothing here waits longer.
pub(super) const LONGEST: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The HTTP parser needs at least 8 KiB.
/// Room for one answer of the largest kind at least.
const BUFFER_BYTES: RangeInclusive<u64> = LARGEST_ANSWER as u64..=1 << 30;
const HEADER_BYTES: RangeInclusive<u64> = 8 << 10..=1 << 20;
pub(super) const EXAMPLE_ENDPOINT: &str = "https://mpc.cn-north-4.myhuaweicloud.com";
