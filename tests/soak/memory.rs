//! What does a sidecar cost that has nothing to do? Memory, alone and with many idle connections.

use std::sync::Arc;

use crate::{
    harness::{Setup, cancel},
    load::{Line, crowd, run},
    process::{mib, raise_descriptors, resident},
    size, trail,
};

#[test]
fn memory() {
    raise_descriptors();
    let connections = size("IDLE", 1_000);
    let proxy = Arc::new(trail::start(Setup::new()));
    let idle = resident(&proxy);
    let connected = run(async {
        let lines = crowd(connections, |_| {
            let mut line = Line::to(&proxy, "app");
            async move {
                assert_eq!(line.ask(cancel("none")).await.status, 403);
                line
            }
        });
        let open = lines.await;
        let connected = resident(&proxy);
        drop(open);
        connected
    });
    let each = connected.saturating_sub(idle) / connections.max(1);
    println!(
        "memory: RSS idle {}, with {connections} idle connections {}: {each} KiB each",
        mib(idle),
        mib(connected)
    );
    assert!(idle <= IDLE_KIB, "{}", mib(idle));
    assert!(connected <= CONNECTED_KIB, "{}", mib(connected));
}

/// An unoptimised binary is larger by some pages.
const IDLE_KIB: usize = if cfg!(debug_assertions) { 48 } else { 24 } * 1024;
const CONNECTED_KIB: usize = 64 * 1024;
