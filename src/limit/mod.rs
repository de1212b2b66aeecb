//! Rate limits of callers and projects.
//!
//! A token bucket each (GCRA, by the governor crate) and a number of calls under way. It stands beside policy:
//! policy says whether a call may be made at all, this whether it may be made now. What it says about when to come
//! back is true: a caller that waits as long, and is alone, is let through. That all of them together are not too
//! many for this process is not asked here: that is the stack's concurrency limit.

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
