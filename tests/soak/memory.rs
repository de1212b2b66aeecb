//! What does a sidecar cost that has nothing to do? Memory, alone and with many idle connections.

use std::sync::Arc;

use crate::{
    harness::{Proxy, Setup, cancel, mib},
    load::{Line, crowd, run},
    process::{raise_descriptors, resident},
    size, trail,
};

#[test]
fn memory() {
    raise_descriptors();
    let connections = size("IDLE", 1_000);
    let proxy = Arc::new(trail::start(Setup::new()));
    let idle = resident(&proxy);
    let connected = run(async {
        // A few at a time: it is about connections that idle, not about calls at once.
        let lines = crowd(CALLERS, |caller| open(Arc::clone(&proxy), (caller..connections).step_by(CALLERS)));
        let _open = lines.await;
        resident(&proxy)
    });
    let each = connected.saturating_sub(idle) / connections.max(1);
    println!(
        "memory: RSS idle {}, with {connections} idle connections {}: {each} KiB each",
        mib(idle),
        mib(connected)
    );
    assert!(idle <= IDLE_KIB, "{}", mib(idle));
    trail::read(Arc::into_inner(proxy).unwrap(), connections, |_| {});
}

/// Connections on which a call was made, and which are kept.
async fn open(proxy: Arc<Proxy>, numbers: impl Iterator<Item = usize>) -> Vec<Line> {
    let mut lines = Vec::new();
    for _ in numbers {
        let mut line = Line::to(&proxy, "app");
        assert_eq!(line.ask(cancel("none")).await.status, 403);
        lines.push(line);
    }
    lines
}

const CALLERS: usize = 8;
/// An unoptimised binary takes more of everything.
const IDLE_KIB: usize = if cfg!(debug_assertions) { 48 } else { 24 } * 1024;
