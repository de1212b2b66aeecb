//! Metrics in OpenMetrics and the classic text format.
//!
//! Labels come from the configuration and the policy only: no job, no project id, no path, and a caller that is not
//! authenticated is `_unknown`. Series of the policy are by rule or by caller, never both, and end with it (`policy`). All
//! other foreseeable series start at zero, so that rates work from the first event on.

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
