//! The data that accompanies a request from stage to stage.

use std::sync::Arc;

use tokio::time::Instant;

use super::trace::TraceContext;
use crate::{audit::Record, identity::Peer};

/// The data that accompanies a request from stage to stage. It grants nothing.
pub(super) struct Exchange<'r> {
    pub(super) peer: Arc<Peer>,
    pub(super) record: &'r mut Record,
    pub(super) deadline: Instant,
    pub(super) trace: Option<TraceContext>,
}
