//! What if a caller holds thousands of connections and is slow on each? Nobody else notices.
//!
//! `FLOOD=5000 cargo test --test it flood:: -- --nocapture` for figures that mean something.

use std::{
    env,
    io::{ErrorKind, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use crate::harness::{Proxy, Setup, Wire, cancel, request, wait_for};

#[test]
fn a_flood_of_slow_connections_keeps_nobody_out_and_no_answer_back() {
    let count = env::var("FLOOD").map_or(250, |count| count.parse().unwrap());
    // A fifth of them is too much.
    let limits = format!("limits: {{ connections: {} }}", count * 4 / 5);
    let setup = Setup::new().section(&limits).section("audit: { sink: audit.log }");
    let proxy = setup.start().records_elsewhere();
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    let before = calls(&proxy);
    let (over, open) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = proxy.address("app").parse().unwrap();
    let during = thread::scope(|scope| {
        let attack = scope.spawn(|| hold(count, address, (&over, &open)));
        let _end = End(&over);
        wait_for("flood", || (open.load(Relaxed) == count || attack.is_finished()).then_some(()));
        calls(&proxy)
    });
    // Figures, for whoever looks; on a busy machine they prove nothing.
    for ((what, before), (_, during)) in before.iter().zip(&during) {
        let at = |took: &[Duration], percent: usize| took[took.len() * percent / 100].as_secs_f64() * 1e3;
        let [p50, p99] = [50, 99].map(|percent| (at(before, percent), at(during, percent)));
        eprintln!(
            "{what}: p50 {:.2} ms, in the flood {:.2} (x {:.1}); p99 {:.2} ms, in the flood {:.2} (x {:.1})",
            p50.0,
            p50.1,
            p50.1 / p50.0,
            p99.0,
            p99.1,
            p99.1 / p99.0
        );
    }
    proxy.upstream_saw(1 + 4 * CALLS);
    assert!(proxy.probe("/metrics").body.contains("connections_cut_total{reason=\"crowded\"} "));
}

/// Says that it is over, also where a test fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// How long calls took from when they were due: on one connection, and on one each. All are answered.
fn calls(proxy: &Proxy) -> [(&'static str, Vec<Duration>); 2] {
    let mut kept = proxy.dial("app");
    let mut call = |fresh: bool, due: Instant| {
        sleep(due.saturating_duration_since(Instant::now()));
        let mut new = fresh.then(|| proxy.dial("app"));
        let wire: &mut Wire = new.as_mut().unwrap_or(&mut kept);
        wire.write(cancel("none"));
        let answer = wire.answer();
        // In such a crowd too, whoever was served before keeps its connection.
        assert_eq!((answer.status, answer.all("connection").count()), (403, 0));
        due.elapsed()
    };
    [("one connection", false), ("a connection each", true)].map(|(what, fresh)| {
        let start = Instant::now();
        let mut took: Vec<Duration> =
            (0..).map(|n| start + n * PACE).take(CALLS).map(|due| call(fresh, due)).collect();
        took.sort();
        (what, took)
    })
}

/// Holds so many connections, each slow in its way, and opens another one for each that is closed.
fn hold(count: usize, address: SocketAddr, (over, open): (&AtomicBool, &AtomicUsize)) {
    let slow = |number: usize| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        drop(stream.write(&slowly(number)));
        stream
    };
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        held.push(slow(number));
        open.fetch_add(1, Relaxed);
    }
    while !over.load(Relaxed) {
        for (number, stream) in held.iter_mut().enumerate() {
            if number % 100 == 0 {
                sleep(Duration::from_millis(1));
            }
            if number % 3 == 0 && stream.write(b"a").is_err() || is_closed(stream) {
                *stream = slow(number);
                // Slow, not many.
                sleep(Duration::from_millis(1));
            }
        }
    }
}

/// A head, or a body, that does not end, or answers that are not read.
fn slowly(number: usize) -> Vec<u8> {
    match number % 3 {
        0 => b"DELETE /v2/media-prod/editing/jobs/100211 HTTP/1.1\r\nX-Slow: ".to_vec(),
        1 => request("POST", "/", &["Content-Length: 1000"]).into_bytes(),
        _ => request("DELETE", "/", &[]).repeat(20).into_bytes(),
    }
}

/// Reads nothing but the end.
fn is_closed(stream: &TcpStream) -> bool {
    let mut ignored = [0];
    match stream.peek(&mut ignored) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

const CALLS: usize = 500;
const PACE: Duration = Duration::from_millis(4);
