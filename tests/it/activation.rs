//! Socket activation: a passed socket is found by its name, and a wrong one is reported. `restart` tests that it outlives
//! the process.

use std::{
    fs::File,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    process::Stdio,
};

use nix::unistd::geteuid;
use serde_json::json;

use crate::harness::{Setup, Wire, cancel};

#[test]
fn a_tcp_socket_that_is_passed_serves_like_one_of_its_own() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let mut proxy = app().start_with("app", socket);
    assert_eq!(proxy.address("app"), address);
    let answer = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "listener": "app", "network.peer.address": "127.0.0.1" }));
    assert_eq!(proxy.stop(), Some(0));
    proxy.upstream_saw(1);
}

#[test]
fn a_unix_socket_that_is_passed_tells_who_calls_and_is_left_where_it_is() {
    let policy = format!(
        "version: 1
callers: {{ me: {{ identify: [ {{ unix: {{ uid: {} }} }} ] }} }}
rules:
  - {{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
",
        geteuid()
    );
    let setup = app().policy(&policy);
    let path = setup.path("held.sock");
    let mut proxy = setup.start_with("app", UnixListener::bind(&path).unwrap());
    let answer = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "caller.id": "me", "caller.identified_by": "unix" }));
    assert_eq!(proxy.stop(), Some(0));
    assert!(path.exists());
    proxy.upstream_saw(1);
}

#[test]
fn a_socket_that_is_not_what_is_configured_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(folder.path().join("x.sock")).unwrap();
    let tcp = |address: &str| OwnedFd::from(TcpListener::bind(address).unwrap());
    let tls = "{ name: app, bind: 'systemd:app', tls: { certificate: tls.crt, key: tls.key } }";
    let open = "{ name: app, bind: 'systemd:app', unsafe_listen: true }";
    let named = "{ name: app, bind: 'systemd:app', hosts: any }";
    for (listener, name, socket, expected) in [
        (PLAIN, "other", tcp("127.0.0.1:0"), "no socket with this name was passed, only other"),
        (PLAIN, "app", File::open("/dev/null").unwrap().into(), NOT_LISTENING),
        (PLAIN, "app", UnixStream::pair().unwrap().0.into(), NOT_LISTENING),
        (PLAIN, "app", connected().into(), NOT_LISTENING),
        (PLAIN, "app", UdpSocket::bind("127.0.0.1:0").unwrap().into(), NOT_LISTENING),
        (PLAIN, "app", tcp("0.0.0.0:0"), "other machines can reach 0.0.0.0:"),
        (PLAIN, "app", tcp("[::]:0"), "other machines can reach [::]:"),
        (open, "app", tcp("0.0.0.0:0"), "add `hosts` to the listener"),
        (named, "app", tcp("0.0.0.0:0"), "or `unsafe_listen: true`"),
        (tls, "app", unix.into(), "it is a Unix socket: `tls` requires TCP"),
    ] {
        let setup = with_certificate(Setup::new().listeners(&[listener])).passing(name);
        let error = fails(&setup, socket);
        assert!(error.contains("listener `app` cannot listen on systemd:app"), "{error}");
        assert!(error.contains(expected), "{expected}\n{error}");
    }
}

#[test]
fn a_socket_that_was_not_passed_is_told() {
    let not_ours = "export LISTEN_PID=1 LISTEN_FDS=1 LISTEN_FDNAMES=app; exec \"$0\" \"$@\" 3<&0 </dev/null";
    let twice = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=app:app; exec \"$0\" \"$@\" 3<&0 4<&0";
    let nameless = "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\" 3<&0 </dev/null";
    for (script, expected) in [
        ("exec \"$0\" \"$@\"", "no socket was passed to this process: start its socket unit"),
        (not_ours, "no socket was passed to this process: start its socket unit"),
        (twice, "several sockets are named app: give each its own unit"),
        (nameless, "no socket with this name was passed, only unknown"),
    ] {
        let setup = app().under(&["/bin/sh", "-c", script]);
        let error = fails(&setup, TcpListener::bind("127.0.0.1:0").unwrap().into());
        assert!(error.contains(expected), "{expected}\n{error}");
    }
}

#[test]
fn a_socket_that_others_can_reach_is_taken_where_that_is_accepted() {
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let listener = "{ name: app, bind: 'systemd:app', unsafe_listen: true, hosts: [proxy.example] }";
    let mut proxy = Setup::new().listeners(&[listener]).start_with("app", socket);
    proxy.expect_records(1);
    let mut wire = Wire::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
    wire.ask(cancel("100211")).is_refusal(421, "PROXY.WrongHost");
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn a_socket_is_found_by_its_name_and_one_that_nobody_takes_is_told() {
    let script = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=spare:app; \
                  exec \"$0\" \"$@\" 4<&0 3</dev/null </dev/null";
    let setup = app().under(&["/bin/sh", "-c", script]);
    let proxy = setup.start_on(TcpListener::bind("127.0.0.1:0").unwrap());
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    let told = proxy.logged("a passed socket has no listener: connections to it will hang");
    assert_eq!((&told["level"], &told["name"]), (&json!("WARN"), &json!("spare")));
}

#[test]
fn check_needs_no_socket() {
    let output = app().run("check");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("  app on systemd:app\n"), "{text}");
}

/// The message when it cannot listen.
fn fails(setup: &Setup, socket: OwnedFd) -> String {
    let mut command = setup.command("run");
    let child = command.stdin(socket).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(4), 0), "{error}");
    error
}

/// A connected socket, which does not listen.
fn connected() -> TcpStream {
    TcpStream::connect(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()).unwrap()
}

fn with_certificate(setup: Setup) -> Setup {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    setup.file("tls.crt", &made.cert.pem()).file("tls.key", &made.signing_key.serialize_pem())
}

fn app() -> Setup {
    Setup::new().listeners(&[PLAIN])
}

const PLAIN: &str = "{ name: app, bind: 'systemd:app' }";
const NOT_LISTENING: &str = "not a listening TCP or Unix stream socket";
