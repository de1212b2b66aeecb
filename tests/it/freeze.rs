//! The freeze file: in force before the first call, and any problem with it freezes more, not less.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    thread::{self, JoinHandle},
};

use serde_json::{Value, json};

use crate::harness::{Proxy, Setup, TOKEN, Wire, cancel, request, wait_for};

/// As with a socket of systemd: callers have connected and sent before the process exists.
#[test]
fn a_file_that_is_there_before_the_start_freezes_the_very_first_call() {
    for file in ["", "{", r#"{"callers":["editor-api"],"reason":"drill"}"#] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut waiting: Vec<Wire> =
            (0..64).map(|_| Wire::new(TcpStream::connect(socket.local_addr().unwrap()).unwrap())).collect();
        waiting.iter_mut().for_each(|wire| wire.write(cancel("100211")));
        let setup = Setup::new().listeners(&["{ name: app, bind: 'systemd:app' }"]).section(FREEZE_FILE);
        let proxy = setup.file("freeze", file).start_with("app", socket);
        proxy.expect_records(64);
        for mut wire in waiting {
            wire.answer().is_refusal(503, "PROXY.Frozen");
        }
        proxy.upstream_saw(0);
    }
}

#[test]
fn a_file_that_cannot_be_read_at_the_start_freezes_everybody_and_says_why() {
    // `ak` is a file, so `ENOTDIR`; of a folder only files can be read.
    for (path, problem) in [("ak/freeze", "cannot read it: Not a directory"), (".", "cannot read it")] {
        let proxy = Setup::new().section(&format!("freeze_file: {path}")).start();
        proxy.send(cancel("100211")).is_refusal(503, "PROXY.Frozen");
        let freeze = proxy.probe("/status").json()["freeze"][0].clone();
        assert!(freeze["problem"].as_str().unwrap().contains(problem), "{freeze}");
        assert!(
            proxy.logged("the freeze file freezes everybody")["problem"].as_str().unwrap().contains(problem)
        );
        assert_eq!(proxy.probe("/readyz").status, 200, "it answers");
        assert!(proxy.probe("/readyz?verbose").body.contains("[+] frozen, by file: everybody\n"));
        proxy.upstream_saw(0);
    }
}

#[test]
fn a_file_that_names_callers_freezes_those_alone() {
    let proxy = two_callers();
    freeze(&proxy, r#"{"callers":["editor-api"],"reason":"drill","uid":1001,"time":"2026-11-29T12:00:00Z"}"#);
    let told = wait_for("freeze", || found(&proxy));
    assert_eq!((&told["by"], &told["callers"]), (&json!("file"), &json!(["editor-api"])));
    assert_eq!((&told["reason"], &told["uid"]), (&json!("drill"), &json!(1001)));
    assert_eq!((&told["time"], &told["problem"]), (&json!("2026-11-29T12:00:00Z"), &Value::Null));
    proxy.send(cancel("100211")).is_refusal(503, "PROXY.Frozen");
    assert_eq!(proxy.send_to("team", oncall()).status, 403);
    let logged = proxy.logged("the freeze file freezes some callers");
    assert_eq!((&logged["callers"], &logged["reason"]), (&json!("editor-api"), &json!("drill")));
    // An unknown name may be a typo.
    freeze(&proxy, r#"{"callers":["oncal"]}"#);
    wait_for("everybody", || (found(&proxy)?["callers"] == Value::Null).then_some(()));
    for answer in [proxy.send(cancel("100211")), proxy.send_to("team", oncall())] {
        answer.is_refusal(503, "PROXY.Frozen");
    }
    fs::remove_file(proxy.path("freeze")).unwrap();
    wait_for("thaw", || found(&proxy).is_none().then_some(()));
    assert_eq!(proxy.send(cancel("100211")).status, 204);
}

/// A name that a reload removes from the policy is unknown afterwards.
#[test]
fn a_reload_that_takes_a_frozen_caller_away_freezes_everybody() {
    let proxy = two_callers();
    freeze(&proxy, r#"{"callers":["editor-api"]}"#);
    wait_for("freeze", || found(&proxy));
    let policy = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    proxy.write("policy.yaml", &policy.replace("editor-api", "editor-2"));
    wait_for("everybody", || (found(&proxy)?["callers"] == Value::Null).then_some(()));
    proxy.send_to("team", oncall()).is_refusal(503, "PROXY.Frozen");
}

/// No call slips through while the file is replaced, truncated and rewritten.
#[test]
fn no_call_slips_through_while_the_file_is_written_anew() {
    let proxy = Setup::new().section(FREEZE_FILE).file("freeze", "").start();
    let path = proxy.path("freeze");
    let writer: JoinHandle<()> = thread::spawn(move || {
        for round in 0..2_000 {
            let whole = r#"{"callers":["editor-api"]}"#;
            // In place, byte by byte, as an editor may; and with permissions that change.
            fs::write(&path, &whole[..round % whole.len()]).unwrap();
            fs::set_permissions(
                &path,
                fs::Permissions::from_mode(if round % 2 == 0 { 0o000 } else { 0o600 }),
            )
            .unwrap();
        }
    });
    while !writer.is_finished() {
        proxy.send(cancel("100211")).is_refusal(503, "PROXY.Frozen");
    }
    writer.join().unwrap();
    proxy.upstream_saw(0);
}

fn two_callers() -> Proxy {
    Setup::new().with_team().everything_allowed().section(FREEZE_FILE).start()
}

fn freeze(proxy: &Proxy, text: &str) {
    proxy.write("freeze", text);
}

fn found(proxy: &Proxy) -> Option<Value> {
    proxy.probe("/status").json()["freeze"].get(0).cloned()
}

/// Upstream has no such job.
fn oncall() -> String {
    request("DELETE", "/v2/media-prod/editing/jobs/none", &[&format!("Authorization: Bearer {TOKEN}")])
}

const FREEZE_FILE: &str = "freeze_file: freeze";
