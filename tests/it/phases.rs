//! Stopping at any moment: in the first milliseconds, while waiting for a credential, as the first process of a
//! container, with a name server that does not answer, and for lack of threads.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::UdpSocket,
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use mpc_auth_proxy::testserver::Fault;
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, geteuid},
};
use serde_json::json;

use crate::harness::{ACCESS_KEY, Scripted, Setup, Wire, cancel, copy_program, go_on, request, wait_for};

/// From the moment a handler exists.
#[test]
fn a_signal_in_its_first_milliseconds_is_a_clean_end() {
    for after in 0..20 {
        let setup = Setup::new()
            .listeners(&["{ name: app, bind: 'unix:proxy.sock' }"])
            .section("admin: { bind: 'unix:admin.sock' }");
        let mut child =
            Starting(setup.command("run").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        wait_for("handlers", || {
            [Signal::SIGHUP, Signal::SIGTERM].iter().all(|s| child.catches(*s)).then_some(())
        });
        child.signal(Signal::SIGHUP);
        // There is no event to wait for: any moment will do.
        sleep(Duration::from_millis(after));
        child.signal(Signal::SIGTERM);
        assert_eq!(child.code(), Some(0), "after {after} ms");
        for socket in ["proxy.sock", "admin.sock"] {
            assert!(!setup.path(socket).exists(), "after {after} ms it leaves {socket}");
        }
    }
}

#[test]
fn it_is_stopped_while_it_waits_for_a_credential_and_a_hang_up_is_no_end() {
    for stop in ["SIGTERM", "SIGINT", "/shutdown"] {
        let silent = Scripted::start(|_, peer| peer.wait_until_closed());
        let setup = waiting_for(&silent);
        let mut child = Starting::spawn(&setup);
        let status = wait_for("admin socket", || ask(&setup, "GET", "/status"));
        assert!(status.contains("\"ready\":false"), "{status}");
        child.signal(Signal::SIGHUP);
        assert!(ask(&setup, "GET", "/status").is_some());
        match stop {
            "SIGTERM" => child.signal(Signal::SIGTERM),
            "SIGINT" => child.signal(Signal::SIGINT),
            _ => drop(ask(&setup, "POST", "/shutdown").unwrap()),
        }
        assert_eq!(child.code(), Some(0), "{stop}");
        assert!(!setup.path("admin.sock").exists(), "it takes its socket with it");
    }
}

/// It can be stopped even if its start takes long, also on one core.
#[test]
fn it_is_stopped_while_its_start_hangs_in_the_system() {
    for cores in [1, 2] {
        let setup = Setup::new().section("audit: { sink: audit.log }").file("audit.log", "");
        let sink = setup.path("audit.log");
        // The sandbox would open it before there is another thread.
        let Some(setup) = setup.hanging_at(&sink).map(|setup| setup.argument("--no-sandbox")) else { return };
        let setup = if cores == 1 { setup.on_one_core() } else { setup };
        let mut child = Starting::spawn(&setup);
        wait_for("start that hangs", || child.hangs().then_some(()));
        let asked = Instant::now();
        child.signal(Signal::SIGTERM);
        let lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let heard = lines.map(Result::unwrap).any(|line| line.contains("\"stopped before serving\""));
        assert!(heard && asked.elapsed() < Duration::from_secs(30), "{cores} cores: {:?}", asked.elapsed());
        go_on(child.0.id());
        assert_eq!(child.code(), Some(0), "{cores} cores");
    }
}

/// In a PID namespace, where signals have no default handlers.
#[test]
fn the_first_process_of_a_container_is_stopped_while_it_waits() {
    let works = Command::new("unshare").args(["--pid", "--fork", "true"]).status();
    if !works.is_ok_and(|status| status.success()) {
        eprintln!("no name space of processes can be made here");
        return;
    }
    let silent = Scripted::start(|_, peer| peer.wait_until_closed());
    let setup = waiting_for(&silent).under(&["unshare", "--pid", "--fork", "--kill-child"]);
    let mut child = Starting::spawn(&setup);
    wait_for("admin socket", || ask(&setup, "GET", "/status"));
    let id = child.0.id();
    let first = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let first = Pid::from_raw(first.trim().parse().unwrap());
    kill(first, Signal::SIGHUP).unwrap();
    assert!(ask(&setup, "GET", "/status").is_some());
    kill(first, Signal::SIGTERM).unwrap();
    assert_eq!(child.code(), Some(0));
}

/// A pod agent that is down for a moment. A lasting failure is reported at once: see `shutdown`.
#[test]
fn a_required_credential_is_waited_for_while_its_source_is_down() {
    let agent = Scripted::start(|connection, peer| {
        peer.request();
        match connection {
            0 => {}
            1 => drop(peer.write("HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n")),
            _ => drop(peer.write(key_of_the_pod())),
        }
    });
    let proxy = requiring(&agent).start();
    assert_eq!(proxy.probe("/readyz").status, 200);
    assert!(agent.connections() >= 3);
    drop(proxy);
    // One that refuses.
    let agent = Scripted::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let output = requiring(&agent).run("run");
    assert_eq!((output.status.code(), agent.connections()), (Some(5), 1));
}

#[test]
fn a_second_signal_ends_it_at_once_and_what_is_cut_is_recorded() {
    // An unconfirmed key makes three signatures at once; a token has no such gate.
    let mut proxy = Setup::new()
        .section("drain: { timeout: 60s }\nlimits: { request_deadline: 60s }")
        .file("token", "MIIE")
        .credential("{ token_file: { path: token } }")
        .start();
    proxy.cloud().set_faults([Fault::LatencyMs(60_000).until_cleared()]);
    let mut wires: Vec<Wire> = (0..30).map(|_| proxy.connect()).collect();
    wires.iter_mut().for_each(|wire| wire.write(cancel("100211")));
    wait_for("requests upstream", || (proxy.cloud().requests().len() == 30).then_some(()));
    let began = Instant::now();
    // A signal to the process and to its group, as of timeout(1), is one.
    proxy.signal(Signal::SIGTERM);
    proxy.signal_and_wait(Signal::SIGTERM, "draining");
    wait_for("end", || {
        proxy.signal(Signal::SIGINT);
        proxy.log().contains("asked again").then_some(())
    });
    assert_eq!(proxy.ended().code(), Some(3));
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    for record in proxy.audit(30) {
        record.says(json!({ "outcome": "unknown", "http.response.status_code": null }));
    }
}

/// `shutdown` as a hook, followed by the orchestrator's signal.
#[test]
fn a_signal_after_the_operators_word_is_not_the_second_one() {
    let mut proxy = Setup::new().section("admin: { bind: 'unix:admin.sock' }").start();
    proxy.cloud().set_faults([Fault::LatencyMs(3_000).until_cleared()]);
    let mut wire = proxy.sending(cancel("100211"));
    wait_for("request upstream", || (proxy.cloud().requests().len() == 1).then_some(()));
    assert_eq!(proxy.ask_unix("admin.sock", &request("POST", "/shutdown", &[])).status, 202);
    proxy.logged("draining");
    proxy.signal(Signal::SIGTERM);
    assert_eq!(wire.answer().status, 204);
    assert_eq!(proxy.ended().code(), Some(0));
}

/// The C library waits for the name server on a thread that cannot be ended.
#[test]
fn the_end_does_not_wait_for_a_name_server() {
    let Ok(server) = UdpSocket::bind("127.67.83.53:53") else {
        eprintln!("no name server can be made here");
        return;
    };
    let setup = Setup::new()
        .upstream("http://upstream.example")
        .project("unsafe_plaintext: true")
        .section("drain: { timeout: 1s }\nupstream: { connect_timeout: 60s, attempt_timeout: 60s }")
        .section("limits: { request_deadline: 60s }")
        .file("resolv.conf", "nameserver 127.67.83.53\noptions timeout:30 attempts:2\n");
    let script = format!(
        "mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"",
        setup.path("resolv.conf").display()
    );
    let mounted = Command::new("unshare").args(["--mount", "sh", "-c", &script, "true"]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("nothing can be mounted here");
        return;
    }
    let mut proxy = setup.under(&["unshare", "--mount", "sh", "-c", &script]).start();
    let _wire = proxy.sending(cancel("100211"));
    server.recv(&mut [0; 512]).unwrap();
    let began = Instant::now();
    assert_eq!(proxy.stop(), Some(3));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    proxy.audit(1)[0].says(json!({ "http.response.status_code": null, "outcome": "abandoned" }));
}

#[test]
fn too_few_threads_are_an_error_with_words() {
    if !geteuid().is_root() {
        eprintln!("only root can become a user without other processes");
        return;
    }
    let (mut refused, mut served) = (0, 0);
    // Each core takes one.
    let enough = 14 + thread::available_parallelism().unwrap().get();
    for threads in 1..=enough {
        let setup = Setup::new();
        let (folder, program) = (setup.path(""), setup.path("program"));
        copy_program(&program);
        let script = format!(
            "chown -R 61837:61837 {0} && exec setpriv --reuid=61837 --regid=61837 --clear-groups \
             prlimit --nproc={threads} {1} \"$@\"",
            folder.display(),
            program.display()
        );
        match outcome(&setup.under(&["sh", "-c", &script])) {
            Some(error) => {
                assert!(
                    error.contains("too few threads") || error.contains("cannot start the log"),
                    "{error}"
                );
                refused += 1;
            }
            None => served += 1,
        }
    }
    assert!(refused >= 3 && served >= 1, "{refused} refused, {served} served");
}

#[test]
fn too_few_descriptors_are_an_error_with_words() {
    let mut refused = 0;
    for descriptors in 4..=16 {
        if let Some(error) = outcome(&Setup::new().open_files(descriptors)) {
            assert!(
                error.contains("Too many open files") || error.contains("error while loading"),
                "{error}"
            );
            refused += 1;
        }
    }
    assert!(refused >= 3, "{refused} refused");
}

/// The error if it does not start; `None` if it serves.
fn outcome(setup: &Setup) -> Option<String> {
    let mut child = Starting::spawn(setup);
    let mut text = String::new();
    let mut lines = BufReader::new(child.0.stderr.take().unwrap());
    while lines.read_line(&mut text).unwrap() > 0 {
        if text.contains("\"serving\"") {
            return None;
        }
    }
    assert!(matches!(child.code(), Some(1 | 4 | 78 | 127)), "{text}");
    assert!(!text.contains("bug") && !text.contains("panicked"), "{text}");
    Some(text)
}

/// Its credential never comes, and is required.
fn waiting_for(silent: &Scripted) -> Setup {
    requiring(silent).section("admin: { bind: 'unix:admin.sock' }")
}

fn requiring(agent: &Scripted) -> Setup {
    in_a_pod(agent).argument("--require-credentials")
}

/// Its key comes from this agent.
pub(crate) fn in_a_pod(agent: &Scripted) -> Setup {
    let setup = Setup::new().file("pod-token", "a-token-of-no-pod");
    let token = setup.path("pod-token").display().to_string();
    setup
        .credential("{ pod_identity: {} }")
        .variable("HC_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v1", agent.url()))
        .variable("HC_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token)
}

pub(crate) fn key_of_the_pod() -> String {
    let body = json!({ "credentials": {
        "accessKeyId": ACCESS_KEY, "secretAccessKey": "a-secret-of-no-account", "securityToken": "token",
        "expiration": "2099-01-01T00:00:00Z",
    } })
    .to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a request to the admin socket. `None` if it does not exist yet.
fn ask(setup: &Setup, method: &str, target: &str) -> Option<String> {
    let mut wire = Wire::new(UnixStream::connect(setup.path("admin.sock")).ok()?);
    wire.write(request(method, target, &["Connection: close"]));
    Some(wire.answer().body)
}

/// A process that may never serve. Killed when dropped.
struct Starting(Child);

impl Starting {
    fn spawn(setup: &Setup) -> Self {
        Self(setup.command("run").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }

    /// Whether it has a handler for this signal, by proc_pid_status(5).
    fn catches(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> (signal as u64 - 1) & 1 == 1
    }

    /// Whether one of its threads has been blocked by the system for a while.
    fn hangs(&self) -> bool {
        let is_stopped = |task: fs::DirEntry| {
            // A thread may be over.
            let read = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            read("comm") != "strace\n" && read("stat").contains(") t ")
        };
        (0..20).all(|_| {
            sleep(Duration::from_millis(10));
            let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
            tasks.filter_map(Result::ok).any(is_stopped)
        })
    }

    /// Waits for its end.
    fn code(&mut self) -> Option<i32> {
        if let Some(stderr) = &mut self.0.stderr {
            drop(stderr.read_to_string(&mut String::new()));
        }
        wait_for("end of the process", || self.0.try_wait().unwrap()).code()
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
