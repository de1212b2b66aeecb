//! Files that are incomplete, or unreadable for a while: half a file is never in force, one that could not
//! be loaded is retried automatically, and nobody waits for it meanwhile.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::net::UnixStream,
    path::Path,
    sync::Barrier,
    thread::{self, sleep},
    time::{Duration, Instant},
};

use mpc_auth_proxy::{
    secret::Secret,
    testserver::{AccessKey, Seen},
};
use nix::{
    sys::{signal::Signal, stat::Mode},
    unistd::mkfifo,
};
use serde_json::{Value, json};

use crate::harness::{
    ACCESS_KEY, BOUND, PROJECT, Proxy, SECRET_KEY, Setup, cancel, go_on, request, wait_for,
};

#[test]
fn half_a_policy_is_never_in_force_whoever_asks_for_it() {
    for ask in [nobody, by_signal, by_operator] {
        let proxy = Setup::new().policy(&policy("first")).section(ADMIN).start();
        let before = hash(&proxy);
        thread::scope(|scope| {
            let writer = scope.spawn(|| {
                in_halves(&proxy.path("policy.yaml"), &policy("second"), last_line(), || ask(&proxy))
            });
            while !writer.is_finished() {
                denied(&proxy);
            }
            wait_for("new policy", || {
                denied(&proxy);
                (hash(&proxy) != before).then_some(())
            });
        });
        assert_eq!(standing(&proxy)["state"], "in_force");
    }
}

#[test]
fn it_does_not_start_with_half_a_policy() {
    let setup = Setup::new().policy(&policy("old"));
    let path = setup.path("policy.yaml");
    let (text, written) = (policy("new"), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            in_halves(&path, &text, last_line(), || {
                written.wait();
            });
        });
        written.wait();
        let proxy = setup.start();
        denied(&proxy);
    });
}

#[test]
fn a_file_that_is_written_all_the_time_is_pending_and_said_so() {
    let proxy = Setup::new().policy(&policy("first")).section(ADMIN).start();
    let before = hash(&proxy);
    let path = proxy.path("policy.yaml");
    let answer = thread::scope(|scope| {
        let asked = scope.spawn(|| {
            sleep(Duration::from_secs(1));
            proxy.ask_unix("admin.sock", &request("POST", "/reload", &["Connection: close"]))
        });
        let begun = Instant::now();
        while !asked.is_finished() {
            assert!(begun.elapsed() < BOUND, "the operator is not answered");
            fs::write(&path, policy(&format!("at {:?}", begun.elapsed()))).unwrap();
            sleep(Duration::from_millis(300));
        }
        asked.join().unwrap()
    });
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(
        answer.json()["problem"].as_str().unwrap().ends_with("policy.yaml is still being written"),
        "{answer:?}"
    );
    assert_eq!((hash(&proxy), &standing(&proxy)["state"]), (before.clone(), &json!("pending")));
    proxy.logged("configuration reload pending: the last good one stays in force");
    wait_for("last policy", || (hash(&proxy) != before).then_some(()));
    assert_eq!(standing(&proxy)["problem"], json!(null));
}

#[test]
fn half_a_key_is_never_signed_with() {
    let profile = |ak: &str, sk: &str| format!("[basic]\nak = {ak}\nsk = {sk}");
    let (ak, sk) = ("NEWACCESSKEY", "another-secret");
    for (source, file, old, new) in [
        ("{ files: { access_key: ak, secret_key: sk } }", "sk", SECRET_KEY.to_owned(), sk.to_owned()),
        ("{ profile: { path: profile } }", "profile", profile(ACCESS_KEY, SECRET_KEY), profile(ak, sk)),
    ] {
        let proxy = Setup::new().file(file, &old).credential(source).start();
        proxy.cloud().put_access_key(AccessKey::permanent(ak, sk, PROJECT));
        assert_eq!(call(&proxy), 204);
        // Complete at once: only the second half is late.
        proxy.write("ak", ak);
        calls_go_on(
            &proxy,
            || in_halves(&proxy.path(file), &new, 7, || ()),
            |seen| seen.header("authorization").unwrap().contains(ak),
        );
    }
}

#[test]
fn half_a_token_is_never_sent() {
    let (old, new) = ("first-token-0123456789", "second-token-0123456789");
    let setup = Setup::new().file("token", old).credential("{ token_file: { path: token } }");
    for token in [old, new] {
        setup.cloud().accept_token(Secret::new(token), PROJECT);
    }
    let proxy = setup.start();
    assert_eq!(call(&proxy), 204);
    calls_go_on(
        &proxy,
        || in_halves(&proxy.path("token"), new, 7, || ()),
        |seen| seen.header("x-auth-token") == Some(new),
    );
}

/// Makes calls while a file is written and until it is in force. None of them fails.
fn calls_go_on(proxy: &Proxy, write: impl FnOnce() + Send, is_new: impl Fn(&Seen) -> bool) {
    thread::scope(|scope| {
        let writer = scope.spawn(write);
        while !writer.is_finished() {
            assert_eq!(call(proxy), 204);
        }
    });
    wait_for("call with what is new", || {
        assert_eq!(call(proxy), 204);
        let last = proxy.cloud().requests().pop().unwrap();
        is_new(&last).then_some(())
    });
}

#[test]
fn what_is_refused_for_a_reason_that_passes_is_taken_without_another_change() {
    let setup = Setup::new().policy(&policy("first")).folder("logs");
    let proxy = setup.section("audit: { sink: logs/audit.log }").start().records_elsewhere();
    let (logs, away) = (proxy.path("logs"), proxy.path("away"));
    fs::rename(&logs, &away).unwrap();
    let before = hash(&proxy);
    proxy.write("policy.yaml", &policy("second"));
    let refused = proxy.logged("configuration not reloaded: the last good one stays in force");
    assert!(refused["problem"].as_str().unwrap().contains("its directory does not exist"), "{refused}");
    assert_eq!((&standing(&proxy)["state"], hash(&proxy)), (&json!("refused"), before.clone()));
    // It has been retried by then.
    sleep(Duration::from_secs(3));
    assert_eq!(reloads(&proxy, "failure"), "1", "counted once");
    let told = proxy.log().matches("configuration not reloaded").count();
    assert_eq!(told, 1, "told once");
    fs::rename(&away, &logs).unwrap();
    wait_for("new policy", || (hash(&proxy) != before).then_some(()));
    assert_eq!(
        (&standing(&proxy)["state"], &standing(&proxy)["problem"]),
        (&json!("in_force"), &json!(null))
    );
    assert_eq!(reloads(&proxy, "success"), "1");
}

#[test]
fn a_pipe_in_place_of_a_file_holds_up_nobody() {
    let proxy = Setup::new().policy(&policy("first")).section(ADMIN).start();
    mkfifo(&proxy.path("pipe"), Mode::S_IRWXU).unwrap();
    fs::rename(proxy.path("pipe"), proxy.path("policy.yaml")).unwrap();
    let answer =
        proxy.ask_unix("admin.sock", &request("POST", "/reload", &["Connection: close"])).with_status(409);
    let problem = answer.json()["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("not a regular file"), "{problem}");
    for _ in 0..3 {
        assert_eq!(
            (standing(&proxy)["problem"].clone(), proxy.probe("/livez").status),
            (json!(problem), 200)
        );
    }
    denied(&proxy);
    let before = hash(&proxy);
    proxy.write("policy.yaml", &policy("second"));
    wait_for("new policy", || (hash(&proxy) != before).then_some(()));
}

/// As on a mount whose server is gone: opening the file hangs.
#[test]
fn a_file_system_that_hangs_holds_up_nobody() {
    let setup = Setup::new().policy(&policy("first")).section(ADMIN);
    let slow = setup.path("slow.yaml");
    let Some(setup) = setup.hanging_at(&slow) else { return };
    let mut proxy = setup.start();
    proxy.write("slow.yaml", &policy("second"));
    let yaml = fs::read_to_string(proxy.path("proxy.yaml")).unwrap();
    proxy.write("proxy.yaml", &yaml.replace("policy: policy.yaml", "policy: slow.yaml"));
    let asked = Instant::now();
    let answer = proxy.ask_unix("admin.sock", &request("POST", "/reload", &["Connection: close"]));
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.json()["problem"].as_str().unwrap().contains("takes long"), "{answer:?}");
    // Long before the file can be opened.
    assert!(asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    for _ in 0..3 {
        proxy.signal(Signal::SIGHUP);
        assert_eq!((&standing(&proxy)["state"], proxy.probe("/livez").status), (&json!("pending"), 200));
        denied(&proxy);
    }
    // Records do not wait for it.
    proxy.logged("audit sink reopened");
    // Nor does the end.
    proxy.signal_and_wait(Signal::SIGTERM, "stopped");
    go_on(proxy.id());
    assert_eq!(proxy.ended().code(), Some(0));
}

/// Writes a file in place, its last bytes a while after the others, and does something in between.
pub(crate) fn in_halves<T>(path: &Path, text: &str, late: usize, between: impl FnOnce() -> T) {
    let (first, last) = text.split_at(text.len() - late);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).unwrap();
    file.write_all(first.as_bytes()).unwrap();
    let _asked = between();
    sleep(Duration::from_secs(1));
    file.write_all(last.as_bytes()).unwrap();
}

/// A policy whose last line denies what all others allow.
pub(crate) fn policy(comment: &str) -> String {
    format!(
        "version: 1 # {comment}
callers: {{ editor-api: {{ identify: [ {{ listener: app }} ] }} }}
rules:
  - {{ id: a, effect: allow, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
  - {{ id: d, effect: deny, callers: ['*'], actions: ['*'], projects: ['*'], jobs: ['*'] }}
"
    )
}

fn nobody(_: &Proxy) -> Option<UnixStream> {
    None
}

fn by_signal(proxy: &Proxy) -> Option<UnixStream> {
    proxy.signal(Signal::SIGHUP);
    None
}

/// Reloads by an operator, who waits for the answer.
fn by_operator(proxy: &Proxy) -> Option<UnixStream> {
    let mut operator = UnixStream::connect(proxy.path("admin.sock")).unwrap();
    operator.write_all(request("POST", "/reload", &[]).as_bytes()).unwrap();
    Some(operator)
}

/// The length of the last line of [`policy`], which denies.
pub(crate) fn last_line() -> usize {
    policy("").trim_end().rsplit('\n').next().unwrap().len() + 1
}

/// Makes a call that must be refused.
pub(crate) fn denied(proxy: &Proxy) {
    let answer = proxy.send(cancel("none"));
    assert_eq!(answer.json()["error_code"], "PROXY.Forbidden", "{answer:?}");
}

/// The status of a call's answer.
fn call(proxy: &Proxy) -> u16 {
    proxy.queue("100211");
    proxy.send(cancel("100211")).status
}

pub(crate) fn hash(proxy: &Proxy) -> String {
    proxy.probe("/status").json()["policy"]["hash"].as_str().unwrap().to_owned()
}

fn standing(proxy: &Proxy) -> Value {
    proxy.probe("/status").json()["reload"].clone()
}

fn reloads(proxy: &Proxy, outcome: &str) -> String {
    let text = proxy.probe("/metrics").body;
    let series = format!("mpc_auth_proxy_reloads_total{{outcome=\"{outcome}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().to_owned()
}

const ADMIN: &str = "admin: { bind: 'unix:admin.sock' }";
