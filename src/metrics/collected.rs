//! Metrics that are collected from other parts at each scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::{audit::Sink, clock::Clocks, credential::CachedCredential, upstream::Upstream};

/// The parts that are asked at each scrape.
pub(super) struct Collected {
    pub(super) sink: Sink,
    pub(super) upstreams: Vec<Arc<Upstream>>,
    pub(super) credentials: Vec<Arc<CachedCredential>>,
    pub(super) clocks: Clocks,
}

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counter = ConstCounter::new(self.sink.stats().dropped);
        let help = "Lost audit records";
        counter.encode(encoder.encode_descriptor("audit_dropped", help, None, counter.metric_type())?)?;

        // Read from the breaker, so that two changes cannot be noted in the wrong order.
        let (help, gauge) = ("Whether the endpoint's circuit breaker is open", MetricType::Gauge);
        let mut family = encoder.encode_descriptor("upstream_circuit_open", help, None, gauge)?;
        for upstream in &self.upstreams {
            let open = ConstGauge::new(i64::from(upstream.breaker().is_open()));
            open.encode(family.encode_family(&[("endpoint", &**upstream.name())])?)?;
        }

        let (name, unit) = ("credential_expiry_timestamp", Some(&Unit::Seconds));
        let help = "When the credential expires: +Inf for never, 0 for no credential";
        let mut family = encoder.encode_descriptor(name, help, unit, gauge)?;
        for cached in &self.credentials {
            let state = cached.state();
            let end = match state.expires_at {
                Some(end) => end.timestamp().to_string().parse().unwrap_or_default(),
                None if state.in_force => f64::INFINITY,
                None => 0.0,
            };
            ConstGauge::new(end).encode(family.encode_family(&[("credential", &**cached.name())])?)?;
        }
        let help = "Whether the credential is suspended: upstream rejected its signatures";
        let mut family = encoder.encode_descriptor("credential_held_back", help, None, gauge)?;
        for cached in &self.credentials {
            let held_back = ConstGauge::new(i64::from(cached.state().held_back.is_some()));
            held_back.encode(family.encode_family(&[("credential", &**cached.name())])?)?;
        }

        let help = "How far the endpoint's clock is ahead of this machine's";
        let mut family = encoder.encode_descriptor("clock_skew", help, unit, gauge)?;
        for skew in self.clocks.all() {
            let seconds = ConstGauge::new(skew.measured().num_seconds());
            seconds.encode(family.encode_family(&[("endpoint", skew.endpoint())])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collected")
    }
}
