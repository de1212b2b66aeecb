//! Metrics of caller connections.

use std::sync::Arc;

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::declare::{labels, registered};

/// Counts caller connections.
#[derive(Clone, Default)]
pub struct Connections {
    open: Gauge,
    limit: Gauge,
    cut: Family<CutLabels, Counter>,
    handshakes: Family<HandshakeLabels, Counter>,
}

/// Why the proxy closed a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// A head did not arrive in time.
    Head,
    /// A body did not arrive in time.
    Body,
    /// No request came for too long.
    Idle,
    /// The caller did not read its answer.
    Answer,
    /// Another caller needed the room.
    Crowded,
}

/// Why a TLS handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It took too long.
    Timeout,
    /// The caller hung up.
    HungUp,
    /// One side rejected the other.
    Rejected,
}

labels! {
    struct CutLabels { reason: &'static str }
    struct HandshakeLabels { listener: Arc<str>, reason: &'static str }
}

impl Connections {
    /// Sets the maximum number of connections.
    pub fn limit(&self, limit: usize) {
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// Counts an accepted connection.
    pub fn opened(&self) {
        self.open.inc();
    }

    /// Counts the end of a connection.
    pub fn closed(&self) {
        self.open.dec();
    }

    /// Counts a connection that the proxy closed.
    pub fn cut(&self, why: CutReason) {
        self.cut.get_or_create(&CutLabels { reason: why.as_str() }).inc();
    }

    /// Counts a failed TLS handshake.
    pub fn handshake_failed(&self, listener: &Arc<str>, why: Handshake) {
        self.handshakes.get_or_create(&HandshakeLabels::new(listener, why)).inc();
    }

    /// Creates the series of a listener with TLS at zero.
    pub fn preregister_tls(&self, listener: &Arc<str>) {
        for why in [Handshake::Timeout, Handshake::HungUp, Handshake::Rejected] {
            drop(self.handshakes.get_or_create(&HandshakeLabels::new(listener, why)));
        }
    }

    pub(super) fn registered(r: &mut Registry) -> Self {
        let connections = Self {
            open: registered(r, "connections", "Open connections of callers"),
            limit: registered(r, "connections_limit", "Maximum open connections"),
            cut: registered(r, "connections_cut", "Connections closed by the proxy"),
            handshakes: registered(r, "tls_handshake_failures", "Failed TLS handshakes"),
        };
        for why in [CutReason::Head, CutReason::Body, CutReason::Idle, CutReason::Answer, CutReason::Crowded]
        {
            drop(connections.cut.get_or_create(&CutLabels { reason: why.as_str() }));
        }
        connections
    }
}

impl HandshakeLabels {
    fn new(listener: &Arc<str>, why: Handshake) -> Self {
        let reason = match why {
            Handshake::Timeout => "timeout",
            Handshake::HungUp => "hung_up",
            Handshake::Rejected => "rejected",
        };
        Self { listener: Arc::clone(listener), reason }
    }
}

impl CutReason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
            Self::Idle => "idle",
            Self::Answer => "answer",
            Self::Crowded => "crowded",
        }
    }
}
