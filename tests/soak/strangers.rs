//! Memory that unauthenticated clients can use, whatever they send, with all connections, and with TLS too.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, version::TLS13};

use crate::{
    cgroup::Cgroup,
    harness::{Authority, Client, Proxy, Scripted, Setup, cancel, memory, mib, request, with_a_small_buffer},
    process::{anonymous, raise_descriptors},
    size,
};

type Tls = StreamOwned<ClientConnection, TcpStream>;

#[test]
fn strangers_with_heads_that_do_not_end() {
    siege("heads that do not end", Setup::new().section(PATIENT), |proxy| {
        let head = unfinished();
        let mut stream = TcpStream::connect(proxy.address("app")).ok()?;
        stream.write_all(head.as_bytes()).ok()?;
        Some(stream)
    });
}

#[test]
fn strangers_with_heads_that_do_not_end_over_tls() {
    over_tls("heads that do not end, over TLS", |mut stream| {
        stream.write_all(unfinished().as_bytes()).ok()?;
        Some(stream)
    });
}

#[test]
fn strangers_with_hellos_that_do_not_end() {
    let authority = Authority::new();
    siege("hellos that do not end", Setup::new().section(PATIENT).mesh(&authority), |proxy| {
        let mut stream = TcpStream::connect(proxy.address("mesh")).ok()?;
        // Of 60 KiB, in whole records.
        let mut hello = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xf0, 0];
        hello.resize(5 + 16 * 1024, 0);
        stream.write_all(&hello).ok()?;
        Some(stream)
    });
}

#[test]
fn callers_with_a_call_each_over_tls() {
    over_tls("a call each over TLS", |mut stream| {
        stream.write_all(cancel("none").as_bytes()).ok()?;
        let mut answer = [0; 4096];
        (stream.read(&mut answer).ok()? > 0).then_some(stream)
    });
}

#[test]
fn strangers_that_read_no_refusal() {
    siege("refusals that nobody reads", Setup::new().section(PATIENT), |proxy| {
        let mut stream = with_a_small_buffer(proxy.address("app"));
        stream.write_all(request("DELETE", "/", &[]).repeat(60).as_bytes()).ok()?;
        Some(stream)
    });
}

#[test]
fn callers_that_read_no_answer() {
    let body = format!(r#"{{"error_code":"MPC.10211","error_msg":"{}"}}"#, "a".repeat(60_000));
    let answer = format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let upstream = Scripted::start(move |_, peer| {
        while peer.request().is_some() {
            peer.write(&answer);
        }
    });
    let setup = Setup::new().upstream(&upstream.url()).section(PATIENT);
    siege("answers that nobody reads", setup, |proxy| {
        let mut stream = with_a_small_buffer(proxy.address("app"));
        stream.write_all(cancel("100211").repeat(2).as_bytes()).ok()?;
        Some(stream)
    });
}

fn over_tls(name: &str, say: impl Fn(Tls) -> Option<Tls> + Sync) {
    let authority = Authority::new();
    let host = authority.host();
    siege(name, Setup::new().section(PATIENT).mesh(&authority), |proxy| {
        let client = Client { trusts: &authority, shows: Some(&host), version: &TLS13 };
        say(client.connect(proxy, "mesh"))
    });
}

/// Opens this many connections and does this on each. Some are closed in favour of others.
fn siege<T: Send>(name: &str, setup: Setup, connect: impl Fn(&Proxy) -> Option<T> + Sync) {
    raise_descriptors();
    let count = size("STRANGERS", 200);
    let cgroup = Cgroup::new();
    let limit = size("STRANGERS_LIMIT_MIB", 0);
    if let (Some(cgroup), 1..) = (&cgroup, limit) {
        cgroup.limit(limit << 20);
    }
    let setup = match &cgroup {
        Some(cgroup) => cgroup.hold(setup),
        None => setup,
    };
    let proxy = setup.start().records_elsewhere();
    let idle = anonymous(&proxy);
    let held: Vec<T> = thread::scope(|scope| {
        let besieger = |number| {
            let (proxy, connect) = (&proxy, &connect);
            scope.spawn(move || {
                let numbers = (number..count).step_by(BESIEGERS);
                numbers.filter_map(|_| connect(proxy)).collect::<Vec<T>>()
            })
        };
        let besiegers: Vec<_> = (0..BESIEGERS).map(besieger).collect();
        besiegers.into_iter().flat_map(|besieger| besieger.join().unwrap()).collect()
    });
    // Until everything sent has arrived.
    thread::sleep(Duration::from_millis(500));
    let open = crate::trail::metrics(&proxy, "mpc_auth_proxy_connections ")["mpc_auth_proxy_connections"];
    let (peak, now) = (memory::peak(proxy.id()).unwrap(), anonymous(&proxy));
    let of_cgroup = cgroup.as_ref().map_or("unknown".into(), |cgroup| mib(cgroup.peak().unwrap()));
    println!(
        "{name}: {count} connect, {open} are open: {} at most, cgroup {of_cgroup} at most; anonymous {} idle, {} now",
        mib(peak),
        mib(idle),
        mib(now),
    );
    drop(held);
    drop(proxy);
}

/// A head without its end.
fn unfinished() -> String {
    let head = cancel("none");
    format!("{}\r\nX-A: {}", head.trim_end(), "a".repeat(15_500))
}

const BESIEGERS: usize = 8;
/// Time-outs long enough not to free what strangers hold.
const PATIENT: &str = "limits: { header_timeout: 1h, idle_timeout: 1h }";
