//! The sections `limits`, `drain`, `audit` and `log` of `proxy.yaml`.

use super::declare::*;
use super::files;
use super::upstream::{MAX_TIMEOUT, TIMEOUT};
use crate::audit::{RecordedFacts, Target, WhenBlocked};
use crate::operation::LARGEST_ANSWER;
use std::time::Duration;
use tracing::Level;

section! {
    /// The limits of one process.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Limits, "`limits`" {
        /// Open caller connections, lowered to fit the open-file limit; above it, idle ones are closed.
        connections: usize = count(1..=1_000_000), default(4096);
        /// Calls in flight; a caller without its own limit gets half, if there are other callers.
        in_flight: usize = count(1..=1_000_000), default(1024);
        /// Timeout for a request's head; jitter adds up to a tenth.
        header_timeout: Duration = TIMEOUT, default(Duration::from_secs(5));
        /// Timeout of a connection without a request; jitter adds up to a tenth. Keep it above the callers' pool
        /// timeouts (Go's is 90s).
        // Above Go's 90 s, so that a caller's pool closes the connection first.
        idle_timeout: Duration = TIMEOUT, default(Duration::from_secs(100));
        /// Deadline of a request, from its head to the end of its answer.
        request_deadline: Duration = TIMEOUT, default(Duration::from_secs(30));
        /// The maximum size of a request's head.
        // The HTTP parser needs at least 8 KiB.
        header_bytes: usize = Size(8 << 10..=1 << 20), default(16 << 10);
        /// The maximum number of headers of a request.
        headers: usize = count(8..=1000), default(64);
        /// The maximum size of a create's body: at most a quarter of `buffer_bytes`, lowered with it.
        // A length has at most seven digits.
        body_bytes: usize = Size(1 << 10..=9 << 20), default(256 << 10);
        /// Memory for TLS handshakes, unfinished heads, bodies and upstream's answers together: a call reserves 64KiB
        /// before it is sent, a lookup 2MiB; without room it is refused. This, `connections` and `in_flight` are
        /// lowered to fit the cgroup's memory.
        // At least one answer of the largest kind.
        buffer_bytes: usize = Size(LARGEST_ANSWER as u32..=1 << 30), default(16 << 20);
        /// After this time, a connection's next answer is its last; jitter takes off up to a fifth.
        connection_lifetime: Duration = Time(Duration::from_millis(10)..=DAY), default(MAX_TIMEOUT);
        /// The maximum number of requests on a connection.
        connection_requests: usize = count(1..=1_000_000_000), default(1_000_000);
    }
}

section! {
    /// How the proxy stops.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Drain, "`drain`" {
        /// The time between not ready and not accepting.
        delay: Duration = Time(Duration::ZERO..=MAX_TIMEOUT), default(Duration::ZERO);
        /// The time for requests in flight to finish.
        timeout: Duration = TIMEOUT, default(Duration::from_secs(25));
    }
}

section! {
    /// Where the audit records go.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AuditSettings, "`audit`" {
        /// `stdout`, or the path of a file, which the proxy locks: one per process.
        sink: Target = Sink, default(Target::Stdout);
        /// Refuse calls that cannot be recorded (503), or let them through and count them.
        when_blocked: WhenBlocked = Words([("refuse", WhenBlocked::Refuse), ("drop", WhenBlocked::Drop)]),
            default(WhenBlocked::Refuse);
        /// Record the deciding facts with their values, or only their names.
        facts: RecordedFacts = Words([("values", RecordedFacts::Values), ("names", RecordedFacts::Names)]),
            default(RecordedFacts::Values);
        /// Write a line before each call is sent, so that a kill leaves no call unrecorded.
        write_ahead: bool = Switch, default(false);
    }
}

section! {
    /// How the proxy logs.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LogSettings, "`log`" {
        /// JSON or text; `auto` is text on a terminal.
        format: LogFormat = Words([("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]),
            default(LogFormat::Auto);
        /// The log level.
        level: Level = Words(LEVELS), default(Level::INFO);
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// JSON.
    Json,
    /// Text.
    Text,
}

/// The section `limits`, whose keys may contradict each other.
pub(super) const LIMITS: CustomKind<Limits> = own(limits, Limits::shape);

fn limits(source: &SourceFile, node: &Node) -> Option<Limits> {
    let limits = Limits::read(source, node)?;
    // A rewritten body may be three times as large.
    if limits.body_bytes > limits.buffer_bytes / 4 {
        let message = "`body_bytes` exceeds a quarter of `buffer_bytes`, which all bodies share";
        let place = node.get("body_bytes").map_or(node.place, |node| node.place);
        source.error(place, message, "raise `buffer_bytes`, or lower `body_bytes`");
    }
    Some(limits)
}

/// The section `audit`, whose keys may contradict each other.
pub(super) const AUDIT: CustomKind<AuditSettings> = own(audit, AuditSettings::shape);

fn audit(source: &SourceFile, node: &Node) -> Option<AuditSettings> {
    let audit = AuditSettings::read(source, node)?;
    if let (true, WhenBlocked::Drop) = (audit.write_ahead, audit.when_blocked) {
        let message = "`write_ahead: true` conflicts with `when_blocked: drop`";
        let place = node.get("write_ahead").map_or(node.place, |node| node.place);
        source.error(place, message, "remove one");
    }
    Some(audit)
}

struct Sink;

impl Kind for Sink {
    type Value = Target;

    fn read(&self, source: &SourceFile, node: &Node) -> Option<Target> {
        match scalar::text(source, node, SINK)? {
            STDOUT => Some(Target::Stdout),
            _ => files::to_write(source, node).map(Target::File),
        }
    }

    fn shape(&self) -> Shape {
        Shape::text(SINK)
    }
}

impl FormatDefault for Sink {
    fn format(&self, value: &Target) -> String {
        match value {
            Target::Stdout => STDOUT.into(),
            Target::File(path) => path.display().to_string(),
        }
    }
}

const SINK: &str = "stdout, or the path of a file";
const STDOUT: &str = "stdout";
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];
const DAY: Duration = Duration::from_secs(24 * 3600);
