//! Many operators at once, and operators who do not wait: each command is executed, answered and recorded.

use std::{
    fs,
    os::unix::net::UnixStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{JoinHandle, sleep, spawn},
    time::Duration,
};

use serde_json::json;

use crate::{
    harness::{Proxy, Setup, Wire, request, wait_for},
    settle::policy,
};

/// More than the probes' port admits, and for longer than the time to send a request.
#[test]
fn many_at_once_are_answered_and_a_freeze_waits_for_no_reload() {
    let proxy = with_admin();
    let orders = 40;
    let unsettled = Unsettled::policy(&proxy);
    let mut reloads: Vec<Wire> = (0..orders).map(|_| ask(&proxy, "POST", "/reload")).collect();
    let frozen = proxy.ask_unix("admin.sock", &request("PUT", "/freeze", &[])).json();
    assert_eq!(frozen["by"], json!(["operator"]));
    drop(unsettled);
    for reload in &mut reloads {
        assert_eq!(reload.answer().status, 200);
    }
    let records = proxy.interventions(orders + 1);
    assert_eq!(records[0]["operator.action"], "freeze");
    assert!(records[1..].iter().all(|record| record["operator.action"] == "reload"));
}

#[test]
fn what_somebody_asks_who_hangs_up_is_carried_out_and_recorded() {
    let mut proxy = with_admin();
    let unsettled = Unsettled::policy(&proxy);
    drop(ask(&proxy, "POST", "/reload"));
    // Once this is answered, the hang-up has been noticed.
    assert_eq!(proxy.ask_unix("admin.sock", &request("GET", "/status", &[])).status, 200);
    drop(unsettled);
    assert_eq!(proxy.interventions(1)[0]["operator.action"], "reload");

    drop(ask(&proxy, "POST", "/shutdown"));
    assert_eq!(proxy.ended().code(), Some(0));
    assert_eq!(proxy.interventions(2)[1]["operator.action"], "stop");
}

fn with_admin() -> Proxy {
    Setup::new().section("admin: { bind: 'unix:admin.sock' }").start()
}

fn ask(proxy: &Proxy, method: &str, path: &str) -> Wire {
    let mut wire = Wire::new(UnixStream::connect(proxy.path("admin.sock")).unwrap());
    wire.write(request(method, path, &[]));
    wire
}

/// A file being written until this is dropped, so that a reload waits.
struct Unsettled {
    ends: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Unsettled {
    fn policy(proxy: &Proxy) -> Self {
        let (path, ends) = (proxy.path("policy.yaml"), Arc::new(AtomicBool::new(false)));
        let asked = Arc::clone(&ends);
        let writer = spawn(move || {
            for n in 0.. {
                fs::write(&path, policy(&n.to_string())).unwrap();
                if asked.load(Relaxed) {
                    break;
                }
                sleep(Duration::from_millis(100));
            }
        });
        Self { ends, writer: Some(writer) }
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.ends.store(true, Relaxed);
        if let Some(writer) = self.writer.take() {
            writer.join().unwrap();
        }
    }
}

/// Neither the freeze file nor a reason can write control characters to other terminals.
#[test]
fn what_others_wrote_is_shown_and_steers_nothing() {
    let proxy =
        Setup::new().section("admin: { bind: 'unix:admin.sock' }").section("freeze_file: freeze").start();
    proxy.write("freeze", r#"{"reason":"drill\u001b[31m\nready, version 9\u202e"}"#);
    let shown = "drill\\u{1b}[31m\\nready, version 9\\u{202e}\n";
    for command in ["status", "freeze", "doctor"] {
        wait_for(command, || {
            let said = String::from_utf8(proxy.run(command).stdout).unwrap();
            assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said}");
            said.contains(shown).then_some(())
        });
    }
}
