//! Callers on this machine's loopback address, identified by the user who made their socket.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::Signal,
    unistd::{Uid, geteuid, setfsuid},
};
use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::harness::{Setup, Wire, cancel, wait_for};

fn policy(callers: &str) -> String {
    format!(
        "version: 1
callers: {{ {callers} }}
rules:
  - {{ id: all, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
"
    )
}

fn by_owner(uid: u32) -> String {
    policy(&format!("cleaner: {{ identify: [ {{ loopback: {{ uid: {uid} }} }} ] }}"))
}

#[test]
fn the_user_who_made_the_socket_is_the_caller() {
    let me = geteuid().as_raw();
    let proxy = Setup::new().policy(&by_owner(me)).start();
    let answer = proxy.send(cancel("100211"));
    assert_eq!(answer.status, 204, "{answer:#?}");
    proxy.record(&answer).says(json!({ "caller.id": "cleaner", "caller.identified_by": "loopback" }));
}

#[test]
fn another_user_is_not() {
    let proxy = Setup::new().policy(&by_owner(geteuid().as_raw() + 1)).start();
    proxy.send(cancel("100211")).is_refusal(401, "PROXY.Unauthenticated");
    proxy.upstream_saw(0);
}

/// Needs root to become another user.
#[test]
fn users_are_told_apart_on_one_listener() {
    if !is_root() {
        return;
    }
    let callers = "one: { identify: [ { loopback: { uid: 4001 } } ] }, two: { identify: [ { loopback: { uid: 4002 } } ] }";
    let proxy = Setup::new().policy(&policy(callers)).start();
    let (host, port) = proxy.address("app").rsplit_once(':').unwrap();
    for (uid, caller) in [(4001, "one"), (4002, "two")] {
        proxy.queue("100211");
        proxy.expect_records(1);
        // With the shell alone, as no other language may be installed.
        let script = format!("exec 3<>/dev/tcp/{host}/{port}; printf %s \"$0\" >&3; head -n 1 <&3");
        let output = Command::new("bash")
            .args(["-c", &script, &cancel("100211")])
            .uid(uid)
            .gid(uid)
            .current_dir("/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert_eq!(line.trim_end(), "HTTP/1.1 204 No Content", "{:?}", output.stderr);
        let found = |record: &crate::harness::Record| record["caller.id"] == caller;
        wait_for("the record", || proxy.records().into_iter().find(found));
    }
}

/// A connection that was open when a policy first names owners is not worth less than a new one, or more: who else
/// would be its caller by the listener is not.
#[test]
fn the_owner_of_a_connection_is_known_before_a_policy_asks_for_it() {
    let me = geteuid().as_raw();
    let listener = "anyone: { identify: [ { listener: app } ] }";
    let proxy = Setup::new().policy(&policy(listener)).start();
    let mut open = proxy.sending(cancel("100211"));
    let answer = open.answer();
    proxy.record(&answer).says(json!({ "caller.id": "anyone" }));
    let both = format!("{listener}, cleaner: {{ identify: [ {{ loopback: {{ uid: {me} }} }} ] }}");
    proxy.write("policy.yaml", &policy(&both));
    wait_for("the new policy", || {
        proxy.expect_records(1);
        open.write(cancel("100212"));
        (open.answer().status == 401).then_some(())
    });
    proxy.write("policy.yaml", &by_owner(me));
    wait_for("the next policy", || {
        proxy.expect_records(1);
        let answer = open.ask(cancel("100213"));
        (answer.status != 401).then(|| proxy.record(&answer).says(json!({ "caller.id": "cleaner" })))
    });
}

/// Somebody connects, sends a whole request and resets the connection; the next to get that port is another user. If
/// the proxy is late, both wait to be accepted. Needs root, to be two users.
#[test]
fn nobody_acts_as_the_user_who_got_their_port() {
    if !is_root() {
        return;
    }
    let proxy = Setup::new().policy(&by_owner(VICTIM.as_raw())).start().records_elsewhere();
    let address = proxy.address("app").parse().unwrap();
    for _ in 0..20 {
        // A proxy that is paused for a moment.
        proxy.signal(Signal::SIGSTOP);
        let mut victim = take_over(address);
        proxy.signal(Signal::SIGCONT);
        assert_ne!(victim.answer().status, 401);
    }
    // Many at once, at random moments.
    let end = Instant::now() + Duration::from_secs(2);
    let taken_over: usize = thread::scope(|scope| {
        let users: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..)
                        .take_while(|_| {
                            assert_ne!(take_over(address).answer().status, 401);
                            Instant::now() < end
                        })
                        .count()
                })
            })
            .collect();
        users.into_iter().map(|user| user.join().unwrap()).sum()
    });
    assert!(taken_over > 0);
    assert!(proxy.cloud().requests().iter().all(|seen| !seen.target.contains("stolen")));
    for record in proxy.records() {
        assert!(record["caller.id"].is_null() || record["mpc.job_id"] == "own", "{record:#?}");
    }
}

/// The attacker's request to this address, and the victim's unanswered one from the same port.
pub(crate) fn take_over(to: SocketAddr) -> Wire {
    loop {
        let theirs = ask_as(ATTACKER, ([127, 0, 0, 1], 0).into(), to, "stolen").unwrap();
        let from = theirs.local_addr().unwrap();
        Socket::from(theirs).set_linger(Some(Duration::ZERO)).unwrap();
        // Another thread may have got that port.
        if let Ok(own) = ask_as(VICTIM, from, to, "own") {
            return Wire::new(own);
        }
    }
}

/// A connection from this address made by this thread as that user, with a request on it.
pub(crate) fn ask_as(user: Uid, from: SocketAddr, to: SocketAddr, job: &str) -> std::io::Result<TcpStream> {
    let former = setfsuid(user);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None);
    setfsuid(former);
    let socket = socket?;
    socket.bind(&from.into())?;
    socket.connect(&to.into())?;
    let mut stream = TcpStream::from(socket);
    stream.write_all(cancel(job).as_bytes())?;
    Ok(stream)
}

pub(crate) fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        eprintln!("skipped: it takes root to become two users");
    }
    root
}

pub(crate) const ATTACKER: Uid = Uid::from_raw(4001);
pub(crate) const VICTIM: Uid = Uid::from_raw(4002);
