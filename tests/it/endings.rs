//! Ends of connections: whoever closes one, and whenever, a complete request is answered or recorded, and an incomplete
//! one is no request.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    sync::{Mutex, mpsc},
};

use nix::{
    libc::linger,
    sys::{
        signal::Signal,
        socket::{setsockopt, sockopt::Linger},
    },
};
use rustls::{ClientConnection, StreamOwned, version::TLS13};
use serde_json::json;

use crate::{
    harness::{
        Authority, Client, Holder, Proxy, Queues, Scripted, Setup, Wire, cancel, request, wait_for,
        with_a_small_buffer,
    },
    pieces::{answering, large_body},
};

#[test]
fn a_half_close_within_a_head_is_the_end_and_no_request() {
    for listener in ["{ name: app, bind: 127.0.0.1:0 }", "{ name: app, bind: 'unix:proxy.sock' }"] {
        let proxy = Setup::new().listeners(&[listener]).section("limits: { header_timeout: 1h }").start();
        let (whole, next) = (cancel("100211"), cancel("none"));
        for length in [0, 1, next.len() - 1] {
            proxy.queue("100211");
            let mut wire = proxy.sending(format!("{whole}{}", &next[..length]));
            wire.half_close();
            assert_eq!(wire.answer().status, 204, "{length}");
            wire.closed();
        }
        proxy.upstream_saw(3);
    }
}

#[test]
fn a_reset_while_an_answer_is_written_ends_the_connection_at_once() {
    let (authority, upstream) = (Authority::new(), answering(&large_body()));
    let host = authority.host();
    for listener in ["app", "mesh"] {
        let setup = Setup::new().upstream(&upstream.url()).section("limits: { idle_timeout: 1h }");
        let proxy = if listener == "mesh" { setup.mesh(&authority) } else { setup }.start();
        let tcp = with_a_small_buffer(proxy.address(listener));
        let (queues, reset) = (Queues::of(&tcp), tcp.try_clone().unwrap());
        let mut wire = match listener {
            "app" => Wire::new(tcp),
            _ => Wire::begun(client(&authority, &host).over(tcp), Vec::new()),
        };
        proxy.expect_records(1);
        wire.write(cancel("100211").repeat(2));
        queues.something_is_not_taken();
        // With a linger time of zero the socket sends RST instead of FIN.
        setsockopt(&reset, Linger, &linger { l_onoff: 1, l_linger: 0 }).unwrap();
        drop((wire, reset));
        wait_for("end of the connection", || (connections(&proxy) == 0).then_some(()));
        proxy.audit(1)[0].says(json!({ "outcome": "forwarded", "http.response.status_code": 403 }));
    }
    upstream.saw(2);
}

#[test]
fn both_sides_of_tls_say_that_they_say_no_more() {
    let authority = Authority::new();
    let (proxy, host) = (Setup::new().mesh(&authority).start(), authority.host());
    let connect = || client(&authority, &host).connect(&proxy, "mesh");
    // The caller before its answer, and after it.
    for before in [true, false] {
        let mut stream = connect();
        proxy.expect_records(1);
        stream.write_all(cancel("none").as_bytes()).unwrap();
        if before {
            say_no_more(&mut stream);
        }
        let mut begin = [0; 4096];
        let length = stream.read(&mut begin).unwrap();
        assert!(begin[..length].starts_with(b"HTTP/1.1 403 "), "{}", begin[..length].escape_ascii());
        if !before {
            say_no_more(&mut stream);
        }
        ends_in_words(stream);
    }
    // The proxy, after the last answer.
    let mut stream = connect();
    proxy.expect_records(1);
    stream.write_all(request("DELETE", "/", &["Connection: close"]).as_bytes()).unwrap();
    ends_in_words(stream);
    proxy.upstream_saw(2);
}

#[test]
fn tls_that_is_cut_off_is_the_end_of_what_the_caller_says() {
    let authority = Authority::new();
    let (proxy, host) = (Setup::new().mesh(&authority).start(), authority.host());
    // After a whole request, which is answered.
    let mut stream = client(&authority, &host).connect(&proxy, "mesh");
    proxy.expect_records(1);
    stream.write_all(cancel("none").as_bytes()).unwrap();
    stream.sock.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 403 "), "{text}");
    // Within a record of a request, and within a head.
    for whole in [false, true] {
        let mut stream = client(&authority, &host).connect(&proxy, "mesh");
        stream.conn.complete_io(&mut stream.sock).unwrap();
        let (call, mut record) = (cancel("none"), Vec::new());
        let call = if whole { &call[..call.len() - 1] } else { &call };
        stream.conn.writer().write_all(call.as_bytes()).unwrap();
        stream.conn.write_tls(&mut record).unwrap();
        let length = if whole { record.len() } else { record.len() - 1 };
        stream.sock.write_all(&record[..length]).unwrap();
        stream.sock.shutdown(Shutdown::Write).unwrap();
        ends_in_words(stream);
    }
    proxy.upstream_saw(1);
}

/// Each connection gets one more answer at most: pipelined requests are not begun but left to the next process.
#[test]
fn a_stop_between_two_heads_of_a_pipeline_leaves_the_second_alone() {
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            released.lock().unwrap().recv().ok();
            peer.write("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let mut proxy = Setup::new().upstream(&upstream.url()).start();
    let mut wire = proxy.sending(cancel("100211").repeat(2));
    wait_for("request upstream", || (upstream.heads().len() == 1).then_some(()));
    let idle = proxy.dial("app");
    proxy.signal(Signal::SIGTERM);
    // It is told later than the older one.
    idle.closed();
    release.send(()).unwrap();
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("connection")), (204, "close"));
    wire.closed();
    assert_eq!(proxy.ended().code(), Some(0));
    upstream.saw(1);
}

fn client<'a>(trusts: &'a Authority, shows: &'a Holder) -> Client<'a> {
    Client { trusts, shows: Some(shows), version: &TLS13 }
}

fn say_no_more(stream: &mut StreamOwned<ClientConnection, TcpStream>) {
    stream.conn.send_close_notify();
    stream.flush().unwrap();
}

/// Reads to the end, which TLS must have announced: the end of TCP alone could be forged.
fn ends_in_words(mut stream: StreamOwned<ClientConnection, TcpStream>) {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => panic!("it ends without close_notify"),
        Err(error) => panic!("{error}"),
    }
}

/// The number of open connections.
fn connections(proxy: &Proxy) -> usize {
    let metrics = proxy.probe("/metrics").body;
    let value = metrics.lines().find_map(|line| line.strip_prefix("mpc_auth_proxy_connections "));
    value.unwrap().parse().unwrap()
}
