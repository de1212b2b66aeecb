//! Requests and answers in pieces: that makes no difference, and an answer is read to
//! its last byte.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use rustls::{ClientConnection, StreamOwned, version::TLS13};

use crate::harness::{
    Authority, Client, Proxy, Queues, Scripted, Setup, Wire, cancel, request, with_a_small_buffer,
};

#[test]
fn two_heads_that_are_cut_anywhere_are_two_requests() {
    let proxy = Setup::new().start();
    let (first, second) = (cancel("none"), request("DELETE", "/", &[]));
    let both = format!("{first}{second}");
    for at in 1..both.len() {
        proxy.expect_records(2);
        let (mut wire, queues) = dial(&proxy);
        wire.write(&both[..at]);
        // So what follows is another reading.
        queues.all_is_read();
        if at >= first.len() {
            assert_eq!(wire.answer().status, 403, "it does not wait for the next one: {at}");
            wire.write(&both[at..]);
        } else {
            assert_eq!(wire.ask(&both[at..]).status, 403, "{at}");
        }
        assert_eq!(wire.answer().status, 404, "{at}");
    }
    proxy.upstream_saw(both.len() - 1);
}

#[test]
fn a_head_may_come_byte_by_byte() {
    let proxy = Setup::new().section("limits: { header_timeout: 1h }").start();
    let (mut wire, queues) = dial(&proxy);
    proxy.expect_records(2);
    for byte in [cancel("100211"), cancel("none")].concat().bytes() {
        wire.write([byte]);
        queues.all_is_read();
    }
    assert_eq!([wire.answer().status, wire.answer().status], [204, 403]);
    proxy.upstream_saw(2);
}

#[test]
fn a_record_that_is_cut_anywhere_is_one_record_and_a_handshake_may_come_byte_by_byte() {
    let authority = Authority::new();
    let proxy = Setup::new().section("limits: { header_timeout: 1h }").mesh(&authority).start();
    let host = authority.host();
    let client = Client { trusts: &authority, shows: Some(&host), version: &TLS13 };
    let StreamOwned { mut conn, sock } = client.connect(&proxy, "mesh");
    sock.set_nodelay(true).unwrap();
    let (queues, mut sock) = (Queues::of(&sock), Single(sock));
    while conn.is_handshaking() {
        conn.complete_io(&mut sock).unwrap();
    }
    let Single(mut sock) = sock;
    let call = cancel("none");
    let record = call.len() + RECORD;
    for at in 1..record {
        proxy.expect_records(1);
        conn.writer().write_all(call.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        conn.write_tls(&mut bytes).unwrap();
        assert_eq!(bytes.len(), record);
        sock.write_all(&bytes[..at]).unwrap();
        queues.all_is_read();
        sock.write_all(&bytes[at..]).unwrap();
        assert!(answer(&mut conn, &mut sock).starts_with("HTTP/1.1 403 "), "{at}");
    }
    proxy.upstream_saw(record - 1);
}

#[test]
fn a_caller_that_reads_late_is_given_every_byte() {
    let body = large_body();
    let upstream = answering(&body);
    let authority = Authority::new();
    let proxies = [
        ("app", Setup::new().upstream(&upstream.url()).start()),
        ("mesh", Setup::new().upstream(&upstream.url()).mesh(&authority).start()),
    ];
    let host = authority.host();
    let client = Client { trusts: &authority, shows: Some(&host), version: &TLS13 };
    for (listener, proxy) in proxies {
        let tcp = with_a_small_buffer(proxy.address(listener));
        let queues = Queues::of(&tcp);
        let mut wire = match listener {
            "app" => Wire::new(tcp),
            _ => Wire::begun(client.over(tcp), Vec::new()),
        };
        proxy.expect_records(3);
        wire.write(cancel("100211").repeat(3));
        // More than the kernel takes for it.
        queues.something_is_not_taken();
        for _ in 0..3 {
            let answer = wire.answer();
            assert_eq!((answer.status, answer.body == body), (403, true), "{listener}");
        }
    }
    upstream.saw(6);
}

/// A body of almost the maximum size with varying bytes.
pub(super) fn large_body() -> String {
    let numbers: String = (0..8_500).map(|number| format!("{number:06} ")).collect();
    format!(r#"{{"error_code":"MPC.10211","error_msg":"{numbers}"}}"#)
}

/// An upstream that answers each request with this body.
pub(super) fn answering(body: &str) -> Scripted {
    let answer = format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            peer.write(&answer);
        }
    })
}

/// A connection without Nagle's algorithm.
fn dial(proxy: &Proxy) -> (Wire, Queues) {
    let stream = TcpStream::connect(proxy.address("app")).unwrap();
    stream.set_nodelay(true).unwrap();
    let queues = Queues::of(&stream);
    (Wire::new(stream), queues)
}

/// Reads what comes next.
fn answer(conn: &mut ClientConnection, sock: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    loop {
        match conn.reader().read(&mut bytes) {
            Ok(count) => return String::from_utf8(bytes[..count].to_vec()).unwrap(),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(conn.read_tls(sock).unwrap() > 0, "it was closed");
        conn.process_new_packets().unwrap();
    }
}

/// Sends byte by byte.
struct Single(TcpStream);

impl Read for Single {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl Write for Single {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(&bytes[..1])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The overhead of a TLS 1.3 record: header, type and tag.
const RECORD: usize = 5 + 1 + 16;
