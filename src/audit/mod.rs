//! Audit records: what was done, for whom, and why. One record a request, one JSON line a record.
//!
//! A [`Record`] is lent to each stage of a request, which notes on it what it found out. When the request is over, however
//! it ends, its owner makes one line of it in the [`Sink`]. It stands before the stages because each of them writes to it.
//! Nothing is ever decided by what a record says, but whether something may have been sent already.
//!
//! Only the fields below are written, by one serializer, so no input can forge a line; none of them ever holds
//! a secret, a token or a signature.

mod intervention;
mod line;
mod lock;
mod open_target;
mod failure;
mod trail;
mod output;
mod interrupted;
mod recent;
mod parsed;
mod sink;
mod stream;
mod target;
mod in_flight;
mod record;

pub use failure::Blockage;
pub use interrupted::EVENT_PREFIX;
pub use intervention::Intervention;
pub use parsed::{ParseRecordError, ParsedRecord};
pub use recent::Recent;
pub use record::{Failure, MAX_VALUES, Outcome, Record, RecordedFacts, bounded, bounded_bytes, request_id};
pub use sink::{Announced, Blocked, Sink, SinkStats, Slot, WhenBlocked};
pub use target::{OpenError, Target};
pub use trail::Trail;
