//! Restarts under load: whoever got a connection gets its answers; and if the listening socket is held elsewhere,
//! nobody is even refused.
//!
//! `RESTARTS=300 cargo test --test it restart::` for a night's worth.

use std::{
    env,
    fs::{self, File},
    io,
    net::{TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread::{self, sleep},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::{Setup, Wire, cancel, free_address, wait_for};

#[test]
fn over_a_tcp_socket_that_is_held_nobody_is_refused_and_everybody_answered() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let setup = Setup::new().listeners(&[HELD]).passing("app");
    restarts(&setup, Some(&socket.into()), || Wire::new(TcpStream::connect(address).unwrap()));
}

#[test]
fn over_a_unix_socket_that_is_held_nobody_is_refused_and_everybody_answered() {
    let setup = Setup::new().listeners(&[HELD]).passing("app");
    let path = setup.path("held.sock");
    let socket = UnixListener::bind(&path).unwrap();
    restarts(&setup, Some(&socket.into()), || Wire::new(UnixStream::connect(&path).unwrap()));
}

#[test]
fn over_a_unix_socket_of_its_own_whoever_is_not_refused_is_answered() {
    let setup = Setup::new().listeners(&["{ name: app, bind: 'unix:proxy.sock' }"]);
    let path = setup.path("proxy.sock");
    restarts(&setup, None, || Wire::new(patiently(|| UnixStream::connect(&path))));
}

#[test]
fn over_a_tcp_socket_of_its_own_whoever_is_not_refused_is_answered() {
    let address = free_address();
    let setup = Setup::new().listeners(&[&format!("{{ name: app, bind: '{address}' }}")]);
    restarts(&setup, None, || Wire::new(patiently(|| TcpStream::connect(address))));
}

/// Starts and stops it repeatedly under load.
fn restarts(setup: &Setup, socket: Option<&OwnedFd>, connect: impl Fn() -> Wire + Sync) {
    let count = env::var("RESTARTS").map_or(3, |count| count.parse().unwrap());
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let caller = |calls| {
            let (over, answered, connect) = (&over, &answered, &connect);
            move || call_until(over, answered, (connect, calls))
        };
        let callers = [1, 1, 1000, 1000].map(|calls| scope.spawn(caller(calls)));
        for run in 1..=count {
            let mut child = start(setup, socket);
            let before = answered.load(Relaxed);
            wait_for("answers", || {
                if let Some(status) = child.try_wait().unwrap() {
                    panic!(
                        "run {run} ended with {status}: {}",
                        fs::read_to_string(setup.path("log")).unwrap()
                    );
                }
                (answered.load(Relaxed) > before + 50).then_some(())
            });
            if run == count {
                over.store(true, Relaxed);
                wait_for("end of the callers", || callers.iter().all(|c| c.is_finished()).then_some(()));
            }
            kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
            let status = wait_for("end of the process", || child.try_wait().unwrap());
            assert_eq!(status.code(), Some(0), "run {run}");
        }
    });
    let records = fs::read_to_string(setup.path("records")).unwrap().lines().count();
    assert_eq!((records, setup.cloud().requests().len()), (answered.load(Relaxed), records));
}

/// Calls as fast as it is answered, with this many calls per connection. Each one is answered.
fn call_until(over: &AtomicBool, answered: &AtomicUsize, (connect, calls): (impl Fn() -> Wire, usize)) {
    while !over.load(Relaxed) {
        let mut wire = connect();
        for _ in 0..calls {
            let answer = wire.ask(cancel("none"));
            assert_eq!(answer.status, 403, "{answer:?}");
            answered.fetch_add(1, Relaxed);
            if over.load(Relaxed) || answer.all("connection").any(|value| value == "close") {
                break;
            }
        }
    }
}

fn start(setup: &Setup, socket: Option<&OwnedFd>) -> Child {
    let append = |name| File::options().append(true).create(true).open(setup.path(name)).unwrap();
    let input = socket.map_or_else(Stdio::null, |socket| socket.try_clone().unwrap().into());
    setup.command("run").stdin(input).stdout(append("records")).stderr(append("log")).spawn().unwrap()
}

/// A connection, as soon as one is accepted.
fn patiently<T>(connect: impl Fn() -> io::Result<T>) -> T {
    wait_for("connection", || connect().inspect_err(|_| sleep(Duration::from_millis(1))).ok())
}

const HELD: &str = "{ name: app, bind: 'systemd:app' }";
