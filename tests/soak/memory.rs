//! Memory of an idle sidecar, alone and with many idle connections.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use crate::{
    harness::{Proxy, Scripted, Setup, Wire, cancel, mib, wait_for},
    load::{Line, crowd, run},
    process::{anonymous, cpu, raise_descriptors, resident},
    size, trail,
};

#[test]
fn memory() {
    raise_descriptors();
    let connections = size("IDLE", 1_000);
    let proxy = Arc::new(trail::start(Setup::new()));
    let (idle, alone, cpu) = (resident(&proxy), anonymous(&proxy), cpu(&proxy));
    let connected = run(async {
        // A few at a time, as this is about idle connections, not concurrent calls.
        let lines = crowd(CALLERS, |caller| open(Arc::clone(&proxy), (caller..connections).step_by(CALLERS)));
        let _open = lines.await;
        anonymous(&proxy)
    });
    let each = connected.saturating_sub(alone) / connections.max(1);
    println!(
        "memory: RSS idle {}, of it anonymous {}; with {connections} idle connections {}: {each} KiB each. {cpu:.1?} of \
         CPU until it served",
        mib(idle),
        mib(alone),
        mib(connected)
    );
    assert!(idle <= IDLE_KIB, "{}", mib(idle));
    trail::read(Arc::into_inner(proxy).unwrap(), connections, |_| {});
}

/// Calls held by upstream.
#[test]
fn memory_of_calls() {
    raise_descriptors();
    let calls = size("IN_FLIGHT", 100);
    let held = Arc::new(AtomicBool::new(false));
    let holds = Arc::clone(&held);
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            wait_for("end", || (!holds.load(Relaxed)).then_some(()));
            peer.write("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    // A token has no gate, unlike an unconfirmed key.
    let setup = Setup::new().upstream(&upstream.url()).file("token", "MIIE");
    let proxy = trail::start(setup.credential("{ token_file: { path: token } }"));
    // Warms up everything that is created once.
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    let before = anonymous(&proxy);
    held.store(true, Relaxed);
    let mut wires: Vec<Wire> = (0..calls).map(|_| proxy.dial("app")).collect();
    wires.iter_mut().for_each(|wire| wire.write(cancel("100211")));
    wait_for("calls upstream", || (upstream.heads().len() == 1 + calls).then_some(()));
    let under_way = anonymous(&proxy);
    held.store(false, Relaxed);
    assert!(wires.iter_mut().all(|wire| wire.answer().status == 204));
    println!(
        "memory: anonymous {} before, {} with {calls} calls in flight: {:.1} KiB each",
        mib(before),
        mib(under_way),
        under_way.saturating_sub(before) as f64 / calls as f64
    );
    drop(wires);
    trail::read(proxy, 1 + calls, |_| {});
}

/// Kept connections on which a call was made.
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
/// An unoptimised binary needs more of everything.
const IDLE_KIB: usize = if cfg!(debug_assertions) { 48 } else { 24 } * 1024;
