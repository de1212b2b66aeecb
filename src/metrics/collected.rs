//! What is asked for when metrics are read, and counted by nobody: what others know of themselves.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::{audit::Sink, clock::Clocks, credential::CachedCredential, upstream::Upstream};

/// How many records the sink lost.
#[derive(Debug)]
pub(super) struct Dropped(pub(super) Sink);

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counter = ConstCounter::new(self.0.stats().dropped);
        let help = "Lost audit records";
        counter.encode(encoder.encode_descriptor("audit_dropped", help, None, counter.metric_type())?)
    }
}

/// Whether calls to each endpoint are refused. Asked of the breaker, so that two changes cannot be noted in the wrong
/// order.
pub(super) struct Circuits(pub(super) Vec<Arc<Upstream>>);

impl Collector for Circuits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "Whether the endpoint's circuit breaker is open";
        let mut family = encoder.encode_descriptor("upstream_circuit_open", help, None, MetricType::Gauge)?;
        for upstream in &self.0 {
            let open = ConstGauge::new(i64::from(upstream.breaker().is_open()));
            open.encode(family.encode_family(&[("endpoint", &**upstream.name())])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Circuits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Circuits")
    }
}

/// How long the credentials last, and whether upstream believes them.
pub(super) struct Credentials(pub(super) Vec<Arc<CachedCredential>>);

impl Collector for Credentials {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "When the credential expires: +Inf for never, 0 for no credential";
        let name = "credential_expiry_timestamp";
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        for held in &self.0 {
            let state = held.state();
            let end = match state.expires_at {
                Some(end) => end.timestamp().to_string().parse().unwrap_or_default(),
                None if state.in_force => f64::INFINITY,
                None => 0.0,
            };
            ConstGauge::new(end).encode(family.encode_family(&[("credential", &**held.name())])?)?;
        }
        let help = "Whether the credential is suspended: upstream rejected its signatures";
        let mut family = encoder.encode_descriptor("credential_held_back", help, None, MetricType::Gauge)?;
        for held in &self.0 {
            let held_back = ConstGauge::new(i64::from(held.state().held_back.is_some()));
            held_back.encode(family.encode_family(&[("credential", &**held.name())])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// How far the clocks are apart.
pub(super) struct ClockSkew(pub(super) Clocks);

impl Collector for ClockSkew {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "How far the endpoint's clock is ahead of this machine's";
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor("clock_skew", help, unit, MetricType::Gauge)?;
        for skew in self.0.all() {
            let gauge = ConstGauge::new(skew.measured().num_seconds());
            gauge.encode(family.encode_family(&[("endpoint", skew.endpoint())])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockSkew")
    }
}
