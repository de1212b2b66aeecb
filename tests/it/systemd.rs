//! systemd notifications: ready, reloading and stopping, problems, and the watchdog,
//! on a socket as by `systemd.service(5)`, `Type=notify`.

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use mpc_auth_proxy::testserver::Fault;
use nix::sys::signal::Signal;

use crate::harness::{BOUND, Proxy, Setup, cancel, go_on, wait_for};

/// The notifications of a proxy, as a service manager receives them.
struct Manager {
    socket: UnixDatagram,
    /// Outside of the proxy's folder, like systemd's.
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(BOUND)).unwrap();
        Self { socket, _folder: folder, path }
    }

    fn of(&self, setup: Setup) -> Setup {
        setup.variable("NOTIFY_SOCKET", self.path.to_str().unwrap())
    }

    /// The fields of the next notification.
    fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).unwrap();
        let text = str::from_utf8(&bytes[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Notifications up to and including this one.
    fn until(&self, what: impl Fn(&str) -> bool) -> Vec<String> {
        let (mut heard, end) = (Vec::new(), Instant::now() + BOUND);
        loop {
            assert!(Instant::now() < end, "{heard:#?}");
            let fields = self.next();
            let found = fields.iter().any(|field| what(field));
            heard.extend(fields);
            if found {
                return heard;
            }
        }
    }

    /// Waits for a status that contains this, and returns it.
    fn status(&self, what: &str) -> String {
        let heard = self.until(|field| field.starts_with("STATUS=") && field.contains(what));
        heard.into_iter().rfind(|field| field.starts_with("STATUS=")).unwrap()
    }

    /// Asserts that no notification comes for this time.
    fn is_silent_for(&self, time: Duration) {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let heard = self.socket.recv(&mut [0; 4096]);
        assert!(heard.is_err(), "{:?}", heard);
        self.socket.set_read_timeout(Some(BOUND)).unwrap();
    }
}

fn is(expected: &str) -> impl Fn(&str) -> bool {
    move |field| field == expected
}

/// The file is waited for.
const LATER: &str = "{ files: { access_key: ./ak, secret_key: ./sk } }";
const ADMIN: &str = "admin: { bind: 'unix:admin.sock' }";

#[test]
fn it_is_ready_when_it_serves_and_stops_for_as_long_as_is_configured() {
    let manager = Manager::new();
    let mut proxy = manager.of(Setup::new().section("drain: { delay: 1s, timeout: 40s }")).start();
    assert_eq!(manager.next(), ["STATUS=starting"]);
    let ready = manager.next();
    assert_eq!((ready.len(), &*ready[0]), (2, "READY=1"));
    assert!(ready[1].starts_with("STATUS=serving, policy "), "{ready:?}");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    assert_eq!(proxy.stop(), Some(0));
    assert_eq!(manager.next(), ["STOPPING=1", "EXTEND_TIMEOUT_USEC=46000000", "STATUS=draining"]);
}

#[test]
fn what_is_not_ready_is_not_said_to_be() {
    let manager = Manager::new();
    let setup = manager.of(Setup::new().credential(LATER).argument("--require-credentials"));
    fs::remove_file(setup.path("ak")).unwrap();
    let mut command = setup.command("run");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    manager.status("waiting for credentials");
    manager.is_silent_for(Duration::from_secs(2));
    let started = Manager::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listener = format!("{{ name: app, bind: '{}' }}", taken.local_addr().unwrap());
    let setup = started.of(Setup::new().listeners(&[&listener]));
    let mut ended = setup.command("run");
    let status = ended.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(4));
    assert_eq!(started.next(), ["STATUS=starting"]);
    started.is_silent_for(Duration::from_millis(1));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn each_reload_begins_and_ends_whether_it_is_taken_or_refused() {
    let manager = Manager::new();
    let proxy = manager.of(Setup::new().section(ADMIN)).start();
    manager.until(is("READY=1"));
    // As `ExecReload=` does.
    let reload = |code| assert_eq!(proxy.run("reload").status.code(), Some(code));
    reload(0);
    let begun = manager.until(is("RELOADING=1"));
    let moment: i128 = begun.last().unwrap().strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(moment > 0);
    manager.until(is("READY=1"));
    proxy.signal(Signal::SIGHUP);
    manager.until(is("RELOADING=1"));
    manager.until(is("READY=1"));
    proxy.write("policy.yaml", "version: 1\ncallers: {}\nrules: [ { id: x } ]\n");
    manager.until(is("RELOADING=1"));
    let status = manager.status("its last reload is refused");
    assert!(status.contains("policy.yaml:3:"), "{status}");
    reload(1);
    manager.until(is("RELOADING=1"));
    // A refused configuration is retried, without a reload notification each time.
    manager.until(is("READY=1"));
    manager.is_silent_for(Duration::from_secs(4));
    proxy.write("policy.yaml", POLICY);
    manager.until(is("RELOADING=1"));
    manager.status("serving, policy ");
    proxy.write("half.yaml", "");
    // Written in place, it may be incomplete: a pending reload is not in progress.
    fs::write(proxy.path("policy.yaml"), POLICY).unwrap();
    proxy.signal(Signal::SIGHUP);
    manager.until(is("RELOADING=1"));
    manager.until(is("READY=1"));
}

/// The file stays incomplete, and systemd would give up a reload that takes so long.
#[test]
fn a_reload_that_is_pending_is_over_for_systemd() {
    let manager = Manager::new();
    let proxy = manager.of(Setup::new()).start();
    manager.until(is("READY=1"));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut round, end) = (0, Instant::now() + BOUND);
            while !over.load(Relaxed) && Instant::now() < end {
                round += 1;
                fs::write(proxy.path("policy.yaml"), format!("{POLICY}# {round}\n")).unwrap();
                thread::sleep(Duration::from_millis(300));
            }
        });
        proxy.signal(Signal::SIGHUP);
        manager.until(is("RELOADING=1"));
        let pending = manager.until(is("READY=1"));
        over.store(true, Relaxed);
        let status = pending.into_iter().rfind(|field| field.starts_with("STATUS=")).unwrap();
        assert!(status.contains("its last reload is pending: "), "{status}");
    });
    manager.until(is("RELOADING=1"));
    manager.status("serving, policy ");
}

#[test]
fn what_is_wrong_is_said_on_one_line_and_that_it_is_over() {
    let manager = Manager::new();
    let proxy = manager
        .of(Setup::new().section(ADMIN).section("freeze_file: frozen/freeze").folder("frozen"))
        .start();
    manager.until(is("READY=1"));
    let frozen = r#"{"reason":"a\nSTOPPING=1\u001b[31m","uid":0,"time":"2026-01-01T00:00:00Z"}"#;
    fs::write(proxy.path("frozen/fresh"), frozen).unwrap();
    fs::rename(proxy.path("frozen/fresh"), proxy.path("frozen/freeze")).unwrap();
    let heard = manager.until(|field| field.contains("it is frozen: everybody, by file"));
    assert!(!heard.iter().any(|field| field == "STOPPING=1" || field.contains('\u{1b}')), "{heard:?}");
    fs::remove_file(proxy.path("frozen/freeze")).unwrap();
    manager.status("serving");
    let body = format!("{{\"reason\":\"{}\\nREADY=1\"}}", "x".repeat(100));
    let request = format!("PUT /freeze HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(proxy.ask_unix("admin.sock", &request).status, 200);
    manager.status("xxx\\nREADY=1");
    assert_eq!(proxy.run("unfreeze").status.code(), Some(0));
    manager.status("serving");
}

#[test]
fn a_key_that_is_held_back_and_a_sink_that_is_stuck_are_said() {
    let manager = Manager::new();
    let proxy = manager.of(Setup::new().section("audit: { sink: audit.log }")).start().records_elsewhere();
    manager.until(is("READY=1"));
    proxy.cloud().set_faults([Fault::Unauthorized.until_cleared()]);
    wait_for("refusals", || (proxy.send(cancel("100211")).status == 503).then_some(()));
    let held = manager.status("SUSPENDED");
    assert!(held.contains("credential prod"), "{held}");
    let size = fs::metadata(proxy.path("audit.log")).unwrap().len();
    proxy.limit_file_size(size);
    proxy.send(cancel("100211"));
    let blocked = manager.status("audit records are blocked");
    assert!(blocked.contains("File too large"), "{blocked}");
}

#[test]
fn the_watchdog_is_fed_from_the_start_to_the_end() {
    let manager = Manager::new();
    let setup = Setup::new().section("drain: { delay: 3s }").variable("WATCHDOG_USEC", "3000000");
    let began = Instant::now();
    let mut proxy = manager.of(setup).start();
    manager.until(is("READY=1"));
    (0..3).for_each(|_| drop(manager.until(is("WATCHDOG=1"))));
    assert!(began.elapsed() >= Duration::from_secs(2), "three in {:?}", began.elapsed());
    proxy.signal(Signal::SIGTERM);
    manager.until(is("STOPPING=1"));
    manager.until(is("WATCHDOG=1"));
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new();
    let setup = Setup::new().variable("WATCHDOG_USEC", "300000").variable("WATCHDOG_PID", "1");
    let _proxy = manager.of(setup).start();
    manager.until(is("READY=1"));
    manager.is_silent_for(Duration::from_secs(1));
}

/// Writing a record hangs, as on a mount whose server has gone.
#[test]
fn a_worker_that_is_stuck_lets_the_watchdog_lapse() {
    let manager = Manager::new();
    let setup = Setup::new().section("audit: { sink: audit.log }").variable("WATCHDOG_USEC", "1000000");
    let sink = setup.path("audit.log");
    let Some(setup) = manager.of(setup).hanging_in("write", &sink) else { return };
    let proxy = setup.argument("--no-sandbox").start().records_elsewhere();
    manager.until(is("WATCHDOG=1"));
    let mut wire = proxy.sending(cancel("none"));
    proxy.logged("a worker thread is stuck: systemd will end this process unless it recovers");
    // What was said before that.
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 4096]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    manager.is_silent_for(Duration::from_secs(2));
    go_on(proxy.id());
    assert_eq!(wire.answer().status, 403);
    manager.until(is("WATCHDOG=1"));
}

#[test]
fn a_systemd_that_does_not_listen_holds_up_nobody() {
    let manager = Manager::new();
    let mut proxy = manager.of(Setup::new().variable("WATCHDOG_USEC", "3000")).start();
    let other = UnixDatagram::unbound().unwrap();
    other.connect(&manager.path).unwrap();
    other.set_nonblocking(true).unwrap();
    wait_for("full queue", || other.send(b"STATUS=another's").is_err().then_some(()));
    for _ in 0..100 {
        assert_eq!(proxy.send(cancel("none")).status, 403);
    }
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn without_a_systemd_nothing_is_said_and_one_that_is_gone_is_told_once() {
    let manager = Manager::new();
    let setup = manager.of(Setup::new().variable("WATCHDOG_USEC", "3000"));
    drop(manager);
    let proxy: Proxy = setup.start();
    let told = proxy.logged("cannot notify systemd of this process's state");
    assert_eq!(told["level"], "WARN");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    let lines = proxy.log().matches("cannot notify systemd").count();
    assert_eq!(lines, 1);
}

const POLICY: &str = "version: 1
callers:
  editor-api: { identify: [ { listener: app } ] }
rules:
  - { id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }
";
