//! How metrics and their labels are declared: each once.

use prometheus_client::registry::{Metric, Registry, Unit};

/// Sets of labels.
macro_rules! labels {
    ($(struct $name:ident { $($label:ident: $type:ty),* })*) => { $(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelSet)]
        struct $name { $($label: $type),* }
    )* };
}
pub(super) use labels;

/// A metric that starts at zero.
pub(super) fn registered<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A metric whose unit is the second.
pub(super) fn in_seconds<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}
