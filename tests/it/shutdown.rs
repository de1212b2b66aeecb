//! Shutdown and failed starts: accepted requests are answered first, and the exit code gives the cause.

use std::{net::TcpListener, os::unix::net::UnixListener};

use mpc_auth_proxy::testserver::Fault;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{PROJECT, Proxy, Setup, Wire, cancel, wait_for};

#[test]
fn a_signal_to_stop_is_a_clean_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut proxy = Setup::new().start();
        assert_eq!(proxy.send(cancel("100211")).status, 204);
        let idle = proxy.dial("app");
        proxy.signal(signal);
        assert_eq!(proxy.ended().code(), Some(0), "{signal}");
        idle.closed();
        assert!(proxy.log().contains(signal.as_str()), "{}", proxy.log());
        assert_eq!(proxy.audit(1).len(), 1);
        proxy.upstream_saw(1);
    }
}

#[test]
fn what_is_in_flight_is_finished_before_it_ends() {
    let mut proxy = Setup::new().start();
    proxy.cloud().set_faults([Fault::LatencyMs(3_000).until_cleared()]);
    let mut wire = proxy.sending(cancel("100211"));
    wait_for("request upstream", || (proxy.cloud().requests().len() == 1).then_some(()));
    proxy.signal(Signal::SIGTERM);
    let answer = wire.answer();
    assert_eq!((answer.status, answer.header("connection")), (204, "close"));
    wire.closed();
    assert_eq!(proxy.ended().code(), Some(0));
    proxy.record(&answer).says(json!({ "outcome": "forwarded", "http.response.status_code": 204 }));
    assert_eq!(proxy.cloud().job_state(PROJECT, "100211"), None);
}

/// Their clients consider them connected: closing the socket would reset them.
#[test]
fn who_waits_in_the_systems_queue_when_it_stops_is_answered() {
    for listener in ["{ name: app, bind: 127.0.0.1:0 }", "{ name: app, bind: 'unix:proxy.sock' }"] {
        let mut proxy = Setup::new().listeners(&[listener]).start();
        pause(&proxy);
        let mut wires: Vec<Wire> = (0..500).map(|_| proxy.connect()).collect();
        wires.iter_mut().for_each(|wire| wire.write(cancel("none")));
        proxy.signal(Signal::SIGTERM);
        proxy.signal(Signal::SIGCONT);
        for mut wire in wires {
            assert_eq!(wire.answer().status, 403);
            wire.closed();
        }
        assert_eq!(proxy.ended().code(), Some(0));
        proxy.upstream_saw(500);
    }
}

#[test]
fn a_request_that_is_on_its_way_when_it_stops_is_answered_and_the_last_one() {
    let mut proxy = Setup::new().start();
    let mut wires: Vec<Wire> = (0..50).map(|_| proxy.connect()).collect();
    for wire in &mut wires {
        wire.write(cancel("none"));
        assert_eq!(wire.answer().all("connection").count(), 0);
    }
    pause(&proxy);
    proxy.expect_records(50);
    wires.iter_mut().for_each(|wire| wire.write(cancel("none")));
    proxy.signal(Signal::SIGTERM);
    proxy.signal(Signal::SIGCONT);
    for mut wire in wires {
        assert_eq!(wire.answer().status, 403);
        wire.closed();
    }
    assert_eq!(proxy.ended().code(), Some(0));
    proxy.upstream_saw(100);
}

#[test]
fn a_head_that_has_begun_when_it_stops_may_end() {
    let mut proxy = Setup::new().section("limits: { header_timeout: 20s }").start();
    let request = cancel("100211");
    let mut wire = proxy.sending(&request[..20]);
    // Accepted after it, so that one is read.
    assert_eq!(proxy.send(cancel("none")).status, 403);
    proxy.signal_and_wait(Signal::SIGTERM, "draining");
    let answer = wire.ask(&request[20..]);
    assert_eq!((answer.status, answer.header("connection")), (204, "close"));
    assert_eq!(proxy.ended().code(), Some(0));
    proxy.upstream_saw(2);
}

#[test]
fn it_is_not_ready_and_still_serves_during_the_delay() {
    let mut proxy = Setup::new().section("drain: { delay: 5s }").start();
    assert_eq!(proxy.probe("/readyz").status, 200);
    proxy.signal(Signal::SIGTERM);
    let not_ready = wait_for("readiness to end", || {
        let answer = proxy.probe("/readyz");
        (answer.status == 503).then_some(answer)
    });
    assert!(not_ready.body.contains("[-] not-draining: draining\n"), "{}", not_ready.body);
    assert_eq!(proxy.probe("/livez").status, 200);
    let answer = proxy.send(cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "outcome": "forwarded" }));
    assert_eq!(proxy.ended().code(), Some(0));
    proxy.upstream_saw(1);
}

#[test]
fn a_drain_that_takes_too_long_is_cut_and_says_so() {
    let mut proxy = Setup::new().section("drain: { timeout: 100ms }").start();
    proxy.cloud().set_faults([Fault::LatencyMs(60_000).until_cleared()]);
    let _wire = proxy.sending(cancel("100211"));
    wait_for("request upstream", || (proxy.cloud().requests().len() == 1).then_some(()));
    assert_eq!(proxy.stop(), Some(3));
    assert!(proxy.log().contains("drain timed out before all calls were answered"));
    proxy.audit(1)[0].says(json!({ "outcome": "unknown", "http.response.status_code": null }));
}

#[test]
fn an_address_in_use_is_exit_code_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = format!("{{ name: app, bind: '{}' }}", taken.local_addr().unwrap());
    let output = Setup::new().listeners(&[&listener]).run("run");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("listener `app` cannot listen on 127.0.0.1:"), "{error}");
}

#[test]
fn the_socket_of_a_dead_process_is_replaced() {
    let setup = Setup::new().listeners(SOCKET);
    drop(UnixListener::bind(setup.path("proxy.sock")).unwrap());
    assert!(setup.path("proxy.sock").exists());
    let mut proxy = setup.policy(&policy()).start();
    let answer = proxy.send_to("local", cancel("100211")).with_status(204);
    proxy.record(&answer).says(json!({ "listener": "local" }));
    assert_eq!(proxy.stop(), Some(0));
    assert!(!proxy.path("proxy.sock").exists(), "it takes its socket with it");
}

/// It once removed any file there.
#[test]
fn the_socket_of_another_process_in_its_place_is_left_alone() {
    let mut proxy = Setup::new().listeners(SOCKET).policy(&policy()).start();
    let path = proxy.path("proxy.sock");
    // At once: where there is none, it makes one.
    let other = UnixListener::bind(proxy.path("other.sock")).unwrap();
    std::fs::rename(proxy.path("other.sock"), &path).unwrap();
    assert_eq!(proxy.stop(), Some(0));
    assert!(path.exists());
    drop(other);
}

#[test]
fn a_socket_in_use_and_a_file_that_is_none_are_left_alone() {
    let setup = Setup::new().listeners(SOCKET).policy(&policy());
    let alive = UnixListener::bind(setup.path("proxy.sock")).unwrap();
    let output = setup.run("run");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("another process listens there"), "{error}");
    drop(alive);
    assert!(setup.path("proxy.sock").exists());

    let setup = Setup::new().listeners(SOCKET).policy(&policy()).file("proxy.sock", "precious");
    let output = setup.run("run");
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(std::fs::read_to_string(setup.path("proxy.sock")).unwrap(), "precious");
}

#[test]
fn a_socket_has_the_permissions_that_are_configured() {
    use std::os::unix::fs::PermissionsExt;
    let listener = "{ name: local, bind: 'unix:proxy.sock', mode: '0600' }";
    let proxy = Setup::new().listeners(&[listener]).policy(&policy()).start();
    let mode = std::fs::metadata(proxy.path("proxy.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_credential_that_is_missing_and_required_is_exit_code_5() {
    let setup = Setup::new().credential("{ environment: {} }").argument("--require-credentials");
    let output = setup.run("run");
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{log}");
    assert!(log.contains("\"credentials\":\"prod\""), "{log}");
    assert!(log.contains("HUAWEICLOUD_SDK_AK is not set"), "{log}");
}

#[test]
fn a_configuration_that_is_not_valid_is_exit_code_78_and_told_like_check_does() {
    let setup = Setup::new().section("limit: { headers: 8 }\nlog: { level: loud }");
    let (run, check) = (setup.run("run"), setup.run("check"));
    assert_eq!((run.status.code(), check.status.code()), (Some(78), Some(78)));
    let (run, check) = (String::from_utf8(run.stderr).unwrap(), String::from_utf8(check.stderr).unwrap());
    assert!(run.contains("did you mean `limits`?") && run.contains("`loud` is not one of"), "{run}");
    let lines: Vec<Value> = run.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["level"] == "ERROR").count(), 2, "{run}");
    for line in lines {
        let text = |name: &str| line[name].as_str().unwrap();
        assert!(
            check.contains(&format!(
                "{}: {}: {}\n",
                text("place"),
                if text("level") == "WARN" { "warning" } else { "error" },
                text("message")
            )),
            "{line} in {check}"
        );
        assert!(check.contains(&format!("= hint: {}\n", text("hint"))), "{line} in {check}");
    }
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for arguments in [&["--nonsense"][..], &["--log-level", "loud"], &["extra"]] {
        let setup = arguments.iter().fold(Setup::new(), |setup, argument| setup.argument(argument));
        let output = setup.run("run");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{arguments:?}");
    }
}

/// Stops the process, and returns once it is stopped.
pub(crate) fn pause(proxy: &Proxy) {
    proxy.signal(Signal::SIGSTOP);
    let stat = format!("/proc/{}/stat", proxy.id());
    wait_for("pause", || std::fs::read_to_string(&stat).unwrap().contains(") T ").then_some(()));
}

fn policy() -> String {
    "version: 1
callers: { editor-api: { identify: [ { listener: local } ] } }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
"
    .into()
}

const SOCKET: &[&str] = &["{ name: local, bind: 'unix:proxy.sock' }"];
