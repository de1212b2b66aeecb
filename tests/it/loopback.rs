//! Callers on this machine's loopback address, told apart by the user who made their socket.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use serde_json::json;

use crate::harness::{Setup, cancel, wait_for};

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

/// Needs root, to become somebody else.
#[test]
fn users_are_told_apart_on_one_listener() {
    if !geteuid().is_root() {
        return;
    }
    let callers = "one: { identify: [ { loopback: { uid: 4001 } } ] }, two: { identify: [ { loopback: { uid: 4002 } } ] }";
    let proxy = Setup::new().policy(&policy(callers)).start();
    let (host, port) = proxy.address("app").rsplit_once(':').unwrap();
    for (uid, caller) in [(4001, "one"), (4002, "two")] {
        proxy.queue("100211");
        proxy.expect_records(1);
        // As a shell can: no language is installed for this.
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

#[test]
fn the_owner_is_asked_for_once_a_policy_needs_it() {
    let me = geteuid().as_raw();
    let proxy = Setup::new().policy(&policy("cleaner: { identify: [ { listener: app } ] }")).start();
    proxy.send(cancel("100211"));
    proxy.write("policy.yaml", &by_owner(me));
    wait_for("the new policy", || {
        let answer = proxy.send(cancel("100212"));
        (proxy.record(&answer)["caller.identified_by"] == "loopback").then_some(())
    });
}
