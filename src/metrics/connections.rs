//! Metrics of caller connections.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counts connections, from being accepted to being closed.
#[derive(Clone, Default)]
pub struct Connections {
    open: Gauge,
    limit: Gauge,
    cut: Family<CutLabels, Counter>,
    handshakes: Family<HandshakeLabels, Counter>,
}

/// Why a connection was closed that its caller kept open.
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
    /// One side did not accept what the other one showed or asked for.
    Rejected,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    listener: Arc<str>,
    reason: &'static str,
}

impl Connections {
    /// As many may be open.
    pub fn limit(&self, limit: usize) {
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
    }

    /// A connection was accepted.
    pub fn opened(&self) {
        self.open.inc();
    }

    /// A connection is over.
    pub fn closed(&self) {
        self.open.dec();
    }

    /// A connection was closed that its caller kept open.
    pub fn cut(&self, why: CutReason) {
        self.cut.get_or_create(&CutLabels { reason: why.as_str() }).inc();
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, listener: &Arc<str>, why: Handshake) {
        self.handshakes.get_or_create(&HandshakeLabels::new(listener, why)).inc();
    }

    /// Makes the series of a listener with TLS, at zero.
    pub fn preregister_tls(&self, listener: &Arc<str>) {
        for why in [Handshake::Timeout, Handshake::HungUp, Handshake::Rejected] {
            drop(self.handshakes.get_or_create(&HandshakeLabels::new(listener, why)));
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for why in [CutReason::Head, CutReason::Body, CutReason::Idle, CutReason::Answer, CutReason::Crowded]
        {
            drop(self.cut.get_or_create(&CutLabels { reason: why.as_str() }));
        }
        registry.register("connections", "Open connections of callers", self.open.clone());
        registry.register("connections_limit", "Maximum open connections", self.limit.clone());
        let help = "Connections closed by the proxy";
        registry.register("connections_cut", help, self.cut.clone());
        registry.register("tls_handshake_failures", "Failed TLS handshakes", self.handshakes.clone());
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
