//! Metrics. Counters, in OpenMetrics.
//!
//! It stands before the stages, which count. Labels come from the configuration and the policy alone: no job, no
//! project id, no path, and a caller that was not proven is `_unknown`. What a policy names is counted by its rules
//! and by its callers, never by both, and ends with it (`policy`). Every other series that can be foreseen is there
//! from the start, at zero, so that a rate over it works from the first event on.

mod classic;
mod collected;
mod connections;
mod declare;
mod policy;
mod rates;
mod registry;

pub use connections::{Connections, CutReason, Handshake};
pub use rates::OutcomeRate;
pub use registry::{ExpectedSeries, Format, InFlight, LookupOutcome, Metrics, ProcessState};
