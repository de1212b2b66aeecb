//! Audit records: what was done, for whom, and why. One record per request, one JSON line per record.
//!
//! Each stage borrows the [`Record`] of its request and notes its results there. When the request ends in any way, the
//! record's owner writes one line to the [`Sink`]. The only thing ever decided by a record is whether something may have
//! been sent already.
//!
//! One serializer writes only the fields below, so no input can forge a line. None of them ever contains a secret, a token
//! or a signature.

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
