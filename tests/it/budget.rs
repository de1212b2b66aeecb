//! The memory budget: unauthenticated connections give way to callers.

use std::{
    io::Write,
    net::TcpStream,
    sync::{Arc, Mutex, mpsc},
};

use rustls::version::TLS13;
use serde_json::json;

use crate::harness::{Authority, Client, Proxy, Scripted, Setup, Wire, cancel, wait_for};

#[test]
fn unfinished_heads_take_up_no_more_than_there_is_and_keep_nobody_out() {
    let proxy = Setup::new().section("limits: { buffer_bytes: 2MiB, header_timeout: 1h }").start();
    let whole = cancel("none");
    let unfinished =
        format!("{}X-A: {}", whole.trim_end_matches("\r\n\r\n").to_owned() + "\r\n", "a".repeat(15_000));
    let held: Vec<Wire> = (0..300)
        .map(|_| {
            let mut wire = proxy.dial("app");
            wire.write(&unfinished);
            wire
        })
        .collect();
    // As many as fit: 15 KiB each.
    wait_for("room", || (crowded(&proxy) >= 300 - 140).then_some(()));
    for _ in 0..3 {
        assert_eq!(proxy.send(&whole).status, 403);
        // In two pieces, it needs room itself.
        let mut wire = proxy.sending(&whole[..40]);
        assert_eq!(wire.ask(&whole[40..]).status, 403);
    }
    drop(held);
    proxy.upstream_saw(6);
}

#[test]
fn hellos_without_end_take_up_no_more_than_there_is_and_keep_nobody_out() {
    let authority = Authority::new();
    let proxy =
        Setup::new().mesh(&authority).section("limits: { buffer_bytes: 2MiB, header_timeout: 1h }").start();
    // The beginning of a hello of 60 KiB, in whole records.
    let mut hello = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xf0, 0];
    hello.resize(5 + 16 * 1024, 0);
    let held: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(proxy.address("mesh")).unwrap();
            stream.write_all(&hello).unwrap();
            stream
        })
        .collect();
    wait_for("room", || (crowded(&proxy) >= 150).then_some(()));
    let caller = authority.host();
    let client = Client { trusts: &authority, shows: Some(&caller), version: &TLS13 };
    proxy.expect_records(1);
    assert_eq!(client.ask(&proxy, "mesh", cancel("none")).unwrap().answer().status, 403);
    drop(held);
}

#[test]
fn a_call_is_not_sent_where_there_is_no_room_for_its_answer() {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let upstream = Scripted::start(move |_, peer| {
        while let Some(head) = peer.request() {
            assert!(head.contains("x-auth-token: "), "{head}");
            released.lock().unwrap().recv().ok();
            peer.write("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    // A token has no gate, unlike an unconfirmed key.
    let proxy = Setup::new()
        .upstream(&upstream.url())
        .file("token", "MIIE")
        .credential("{ token_file: { path: token } }")
        .section("limits: { buffer_bytes: 2MiB }")
        .start();
    // 64 KiB each.
    let mut held: Vec<Wire> = (0..32).map(|_| proxy.sending(cancel("100211"))).collect();
    wait_for("calls upstream", || (upstream.heads().len() == 32).then_some(()));
    let answer = proxy.send(cancel("100211")).refused(503, "PROXY.Overloaded");
    proxy.record(&answer).says(json!({ "outcome": "refused", "upstream.attempts": 0 }));
    // A waiting one gets its turn when memory is free again.
    let mut waits = proxy.sending(cancel("100211"));
    (0..33).for_each(|_| release.send(()).unwrap());
    assert!(held.iter_mut().chain([&mut waits]).all(|wire| wire.answer().status == 204));
    upstream.saw(33);
}

/// The number of connections closed in favour of others.
fn crowded(proxy: &Proxy) -> usize {
    count(proxy, "connections_cut_total{reason=\"crowded\"}")
}

fn count(proxy: &Proxy, series: &str) -> usize {
    let metrics = proxy.probe("/metrics").body;
    let line = format!("mpc_auth_proxy_{series} ");
    metrics.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap()
}
