//! Rate limits of callers and projects.
//!
//! Each has a token bucket (GCRA, by the governor crate) and a maximum of calls in flight. The policy says whether a call
//! may be made at all, this whether it may be made now. `Retry-After` is exact: a caller that waits that long, and is alone,
//! is admitted. The limit of the whole process is the stack's concurrency limit.

mod byte_budget;
mod caller;
mod cutoff;
mod denials;
mod freeze;
pub mod freeze_file;
mod limiter;
mod query;
mod quota;
mod rate;

pub use byte_budget::{ByteBudget, ByteReservation};
pub use caller::{CallerLimits, fair_share};
pub use cutoff::Cutoff;
pub use freeze::{AllCallersFrozen, Freeze, FreezeEntry, FreezeScope, Frozen};
pub use limiter::{Admission, Limiter};
pub use query::{CallCount, Exceeded, LimitQuery, Scope};
pub use rate::Rate;
