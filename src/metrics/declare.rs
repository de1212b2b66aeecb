//! Declares metrics and their labels.

use prometheus_client::registry::{Metric, Registry, Unit};

/// Declares sets of labels.
macro_rules! labels {
    ($(struct $name:ident { $($label:ident: $type:ty),* })*) => { $(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
        struct $name { $($label: $type),* }
    )* };
}
pub(super) use labels;

/// Registers a metric that starts at zero.
pub(super) fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// Registers a metric in seconds.
pub(super) fn in_seconds<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}
