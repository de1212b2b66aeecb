use tokio::task::JoinSet;

use super::{
    super::limiter::{ConnectionLimiter, WorkerLoad},
    output::Output,
};
use crate::{config::Limits, metrics::Connections};

/// The stack handles panics of stages; this one is outside of the stages.
#[tokio::test]
async fn a_panic_half_way_gives_back_what_its_connection_had() {
    let limits = Limits { connections: 1, buffer_bytes: 100, ..Limits::default() };
    let limiter = ConnectionLimiter::new(&limits, Connections::default());
    let load = std::sync::Arc::default();
    for _ in 0..3 {
        // The only one there is.
        let mut permit = limiter.permit().await;
        permit.load = Some(WorkerLoad::of(&load));
        let room = limiter.room().try_take(100).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (_permit, _room, mut out) = (permit, room, Output::take());
            out.bytes.extend_from_slice(b"half an answer");
            assert!(out.rest().is_empty());
        });
        assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
        assert_eq!(load.load(std::sync::atomic::Ordering::Relaxed), 0);
        assert!(Output::take().rest().is_empty(), "the next answer on this thread begins with it");
    }
}
