//! Operator actions: freeze and thaw, status, reload, shutdown.

use std::{fs, path::Path, process::Stdio, thread};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::{
    Answer, Held, Process, Proxy, Record, Setup, TOKEN, cancel, go_on, request, small_pipe, wait_for,
};

#[test]
fn a_freeze_refuses_every_call_until_it_is_lifted() {
    let proxy = with_admin();
    let told = operator(&proxy, "PUT", "/freeze").json();
    assert_eq!((&told["frozen"], &told["by"]), (&json!(true), &json!(["operator"])));
    assert!(told["note"].as_str().unwrap().contains("ends with this process"), "{told}");
    is_frozen(&proxy);
    let status = proxy.probe("/status").json();
    assert_eq!((&status["frozen"], &status["freeze"][0]["by"]), (&json!(true), &json!("operator")));
    let thawed = json!({ "frozen": false, "by": [], "note": null, "freeze": [], "problem": null });
    assert_eq!(operator(&proxy, "DELETE", "/freeze").json(), thawed);
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.upstream_saw(1);
}

#[test]
fn a_freeze_file_does_the_same_and_neither_lifts_the_others() {
    let proxy = with_admin();
    fs::write(proxy.path("freeze"), "").unwrap();
    wait_for("freeze", || (proxy.probe("/status").json()["frozen"] == true).then_some(()));
    is_frozen(&proxy);
    let told = operator(&proxy, "DELETE", "/freeze").json();
    assert_eq!((&told["frozen"], &told["by"]), (&json!(true), &json!(["file"])));
    is_frozen(&proxy);
    fs::remove_file(proxy.path("freeze")).unwrap();
    wait_for("thaw", || (proxy.probe("/status").json()["frozen"] == false).then_some(()));
    assert_eq!(proxy.send(cancel("100211")).status, 204);
}

#[test]
fn status_says_what_is_in_force_and_what_was_decided_last() {
    let proxy = with_admin();
    let answer = proxy.send(cancel("100211"));
    let record = proxy.record(&answer);
    let status = wait_for("decision", || {
        let status = proxy.probe("/status").json();
        (status["decisions"] != json!([])).then_some(status)
    });
    assert_eq!(status["decisions"][0]["request.id"], answer.header("proxy-request-id"));
    assert_eq!(status["policy"]["hash"], record["policy.hash"]);
    assert_eq!(
        status["credentials"],
        json!([{
            "name": "prod", "source": "files", "ready": true, "key_hint": "HARN", "expires_at": null,
            "held_back_seconds": null, "problem": null, "looked_at": [],
        }])
    );
    assert_eq!(
        status["listeners"],
        json!([{ "name": "app", "address": proxy.address("app"), "certificate_ends": null, "problem": null }])
    );
    assert_eq!(
        (&status["ready"], &status["draining"], &status["frozen"]),
        (&json!(true), &json!(false), &json!(false))
    );
    let seen_by_operators = operator(&proxy, "GET", "/status").json();
    assert_eq!(seen_by_operators["policy"]["hash"], status["policy"]["hash"]);
}

#[test]
fn an_operator_reloads_and_is_told_what_came_of_it() {
    let proxy = with_admin();
    let good = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    let hash = operator(&proxy, "POST", "/reload").json()["policy"].clone();
    assert_eq!(proxy.probe("/status").json()["policy"]["hash"], hash);
    proxy.write("policy.yaml", &good.replace("allow", "alow"));
    let answer = operator(&proxy, "POST", "/reload").with_status(409);
    assert!(
        answer.json()["problem"].as_str().unwrap().contains("`alow` is not one of allow, deny"),
        "{answer:?}"
    );
}

#[test]
fn an_operator_stops_it_and_the_socket_is_gone() {
    let mut proxy = with_admin();
    assert_eq!(operator(&proxy, "POST", "/shutdown").status, 202);
    assert_eq!(proxy.ended().code(), Some(0));
    assert!(!proxy.path("admin.sock").exists());
}

#[test]
fn the_probes_listener_changes_nothing() {
    let proxy = with_admin();
    for target in ["/freeze", "/reload", "/shutdown"] {
        assert_eq!(proxy.probe(target).status, 404);
    }
    assert_eq!(proxy.send(cancel("100211")).status, 204);
}

/// With the commands: freezes are reported, recorded with their author, and kept.
#[test]
fn operators_freeze_callers_by_name_and_each_time_there_is_a_record() {
    let (folder, own) = (tempfile::tempdir().unwrap(), nix::unistd::getuid());
    let mut proxy = keeping(folder.path());
    let oncall = || proxy.send_to("team", bearer());
    assert_eq!(
        said(&proxy, "freeze --caller oncall --reason drill"),
        (
            Some(0),
            format!(
                "frozen: oncall, by operator since NOW, uid {own}: drill\nfrozen: oncall, by file since NOW, uid {own}: drill\n"
            )
        )
    );
    oncall().is_refusal(503, "PROXY.Frozen");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    let file = fs::read_to_string(folder.path().join("freeze")).unwrap();
    assert!(
        file.starts_with(&format!(r#"{{"callers":["oncall"],"reason":"drill","uid":{own},"time":"20"#)),
        "{file}"
    );
    assert_eq!(said(&proxy, "freeze").0, Some(0));
    is_frozen(&proxy);
    let (code, told) = said(&proxy, "unfreeze --caller oncall");
    assert!(code == Some(1) && told.contains("note: everybody is frozen: unfreeze everybody"), "{told}");
    assert_eq!(said(&proxy, "unfreeze"), (Some(0), "nobody is frozen\n".into()));
    assert!(!folder.path().join("freeze").exists());
    assert_eq!(oncall().status, 403, "the job was cancelled before");
    let records = proxy.interventions(4);
    let told = |record: &Record| {
        ["operator.action", "operator.reason", "error.message"].map(|name| field(record, name))
    };
    assert_eq!(
        records.iter().map(told).collect::<Vec<_>>(),
        [
            ["freeze", "drill", ""],
            ["freeze", "", ""],
            ["unfreeze", "", "everybody is frozen: unfreeze everybody, then freeze the callers you mean"],
            ["unfreeze", "", ""],
        ]
        .map(|told| told.map(str::to_owned))
    );
    records[0].says(json!({ "network.peer.address": format!("uid:{own}"), "operator.callers": ["oncall"] }));
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn what_operators_froze_is_frozen_after_a_restart_and_lifted_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = keeping(folder.path());
    assert_eq!(said(&proxy, "freeze --caller oncall --caller editor-api").0, Some(0));
    assert_eq!(proxy.stop(), Some(0));
    drop(proxy);
    let proxy = keeping(folder.path());
    is_frozen(&proxy);
    let (code, told) = said(&proxy, "unfreeze --caller editor-api");
    assert!(code == Some(0) && told.starts_with("frozen: oncall, by file since NOW"), "{code:?} {told}");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    proxy.send_to("team", bearer()).is_refusal(503, "PROXY.Frozen");
}

#[test]
fn a_freeze_file_of_somebody_elses_is_left_alone_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("freeze");
    fs::write(&theirs, r#"{"callers":["oncall"],"uid":0,"time":"2026-11-29T12:00:00Z"}"#).unwrap();
    let proxy = keeping(folder.path());
    let (code, told) = said(&proxy, "freeze --caller editor-api");
    assert!(
        code == Some(0)
            && told.contains(
                "note: this freeze ends with this process: the freeze file was not written by this proxy"
            ),
        "{told}"
    );
    is_frozen(&proxy);
    let (code, told) = said(&proxy, "unfreeze");
    assert!(
        code == Some(1) && told.contains("note: the freeze file was not written by this proxy"),
        "{told}"
    );
    assert_eq!(said(&proxy, "unfreeze --caller editor-api").0, Some(0), "that one is free");
    assert_eq!(proxy.send(cancel("100211")).status, 204);
    assert!(fs::read_to_string(theirs).unwrap().contains("12:00:00"));
}

#[test]
fn operators_are_heard_while_the_configuration_is_broken_and_say_no_name_wrong() {
    let proxy = with_admin();
    proxy.write("policy.yaml", "version: 1\nrules: nonsense\n");
    let reloaded = proxy.run("reload");
    assert_eq!(reloaded.status.code(), Some(1));
    let problem = String::from_utf8(reloaded.stderr).unwrap();
    assert!(problem.contains("policy.yaml:2:8"), "{problem}");
    let unknown = proxy.run("freeze --caller editor");
    assert_eq!(unknown.status.code(), Some(1));
    let problem = String::from_utf8(unknown.stderr).unwrap();
    assert!(problem.contains("unknown caller \"editor\" in the policy in force"), "{problem}");
    assert_eq!(said(&proxy, "freeze --caller editor-api").0, Some(0));
    is_frozen(&proxy);
    let (code, status) = said(&proxy, "status");
    assert!(code == Some(0) && status.starts_with("ready, version "), "{status}");
    for line in [
        "\nFROZEN      editor-api, by operator since NOW",
        "\nRELOAD      refused since NOW: ",
        "\ncredential  prod from files, HARN…\n",
        "\naudit       stdout\n",
    ] {
        assert!(status.contains(line), "{line:?} in {status}");
    }
    let whole = proxy.run("status --format json");
    let whole: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(whole["reload"]["state"], "refused");
    assert_eq!(field(&proxy.interventions(2)[0], "operator.action"), "reload");
}

/// Many operators at once with a stuck sink: each freeze is in force when it is answered.
#[test]
fn no_sink_holds_up_an_operator_and_many_at_once_leave_what_the_last_said() {
    let folder = tempfile::tempdir().unwrap();
    let (_reader, writer) = small_pipe();
    let section = format!("freeze_file: {}/freeze", folder.path().display());
    let proxy = Process::start(Setup::new().section(&section), writer, Stdio::null());
    let ask = |method: &str, body: &str| {
        proxy.ask("admin.sock", &request_with(method, "/freeze", body)).json()["frozen"] == true
    };
    // More than the pipe takes.
    for _ in 0..40 {
        assert!(ask("PUT", "") && !ask("DELETE", ""));
    }
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| assert!(ask("PUT", r#"{"callers":["editor-api"]}"#))));
        }
    });
    assert!(ask("PUT", r#"{"reason":"the last"}"#));
    let file = fs::read_to_string(folder.path().join("freeze")).unwrap();
    assert!(file.starts_with(r#"{"reason":"the last","#), "{file}");
    assert!(!ask("DELETE", "") && fs::read_dir(folder.path()).unwrap().count() == 0);
}

#[test]
fn reloads_lift_no_freeze_and_a_stop_still_hears_one() {
    let folder = tempfile::tempdir().unwrap();
    let held = Held::answering(|_| "HTTP/1.1 204 No Content\r\n\r\n".into());
    let setup = Setup::new().with_team().everything_allowed().upstream(&held.url());
    let sections = format!(
        "admin: {{ bind: 'unix:{}' }}\nfreeze_file: {}/freeze",
        setup.path("admin.sock").display(),
        folder.path().display()
    );
    let mut proxy = setup.section(&sections).start();
    assert_eq!(said(&proxy, "freeze --caller oncall").0, Some(0));
    let policy = fs::read_to_string(proxy.path("policy.yaml")).unwrap();
    thread::scope(|scope| {
        let reloads = scope.spawn(|| {
            for number in 0..5 {
                proxy.write("policy.yaml", &policy.replace("id: all", &format!("id: all-{number}")));
                assert_eq!(operator(&proxy, "POST", "/reload").status, 200);
            }
        });
        while !reloads.is_finished() {
            proxy.send_to("team", bearer()).is_refusal(503, "PROXY.Frozen");
        }
    });
    let mut wire = proxy.sending(cancel("100211"));
    held.has(1);
    proxy.signal(Signal::SIGTERM);
    wait_for("drain", || (proxy.probe("/readyz").status == 503).then_some(()));
    assert_eq!(operator(&proxy, "PUT", "/freeze").json()["frozen"], true);
    held.let_go();
    assert_eq!(wire.answer().status, 204, "what was sent is finished");
    assert_eq!(proxy.ended().code(), Some(0));
    let file = fs::read_to_string(folder.path().join("freeze")).unwrap();
    assert!(!file.contains("callers"), "the next start finds it: {file}");
}

#[test]
fn a_disk_that_hangs_holds_up_no_freeze() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("freeze");
    let setup = Setup::new().section("admin: { bind: 'unix:admin.sock' }").argument("--no-sandbox");
    let Some(setup) = setup.section(&format!("freeze_file: {}", path.display())).hanging_at(&path) else {
        return;
    };
    let proxy = setup.start();
    let told = operator(&proxy, "PUT", "/freeze").json();
    assert_eq!((&told["by"][0], &told["by"][1]), (&json!("operator"), &json!("file")));
    let note = "this freeze ends with this process: changing the freeze file timed out";
    assert_eq!(told["note"], note);
    is_frozen(&proxy);
    go_on(proxy.id());
}

#[test]
fn what_is_asked_wrongly_changes_nothing() {
    let proxy = with_admin();
    for body in [
        "{",
        "[]",
        r#"[["editor-api"],null]"#,
        r#"{"callers":[]}"#,
        r#"{"project":"media-prod"}"#,
        r#"{"caller":"editor-api"}"#,
        r#"{"callers":["nobody"]}"#,
        r#"{"reason":1}"#,
    ] {
        let answer = proxy.ask_unix("admin.sock", &request_with("PUT", "/freeze", body));
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["problem"].is_string(), "{answer:?}");
    }
    let long = format!(r#"{{"reason":"{}"}}"#, "n".repeat(129));
    assert_eq!(proxy.ask_unix("admin.sock", &request_with("PUT", "/freeze", &long)).status, 400);
    let answer = operator(&proxy, "POST", "/freeze");
    assert_eq!((answer.status, answer.header("allow")), (405, "PUT, DELETE"));
    assert_eq!(proxy.send(cancel("100211")).status, 204);
}

/// Exit code and output of a command, with times replaced by `NOW`.
fn said(proxy: &Proxy, command: &str) -> (Option<i32>, String) {
    let output = proxy.run(command);
    let text = String::from_utf8(output.stdout).unwrap();
    let words = text.split(' ').map(|word| match word.split_once('Z') {
        Some((moment, rest)) if moment.starts_with("20") && moment.len() == 19 => format!("NOW{rest}"),
        _ => word.to_owned(),
    });
    (output.status.code(), words.collect::<Vec<_>>().join(" "))
}

fn field(record: &Record, name: &str) -> String {
    let value = record.fields().any(|field| field == name).then(|| &record[name]);
    value.and_then(Value::as_str).unwrap_or_default().into()
}

/// An operator's request with a body.
fn request_with(method: &str, target: &str, body: &str) -> String {
    let length = format!("Content-Length: {}", body.len());
    request(method, target, &[&length, "Connection: close"]) + body
}

fn bearer() -> String {
    request("DELETE", "/v2/media-prod/editing/jobs/100211", &[&format!("Authorization: Bearer {TOKEN}")])
}

/// A proxy with a freeze file in a separate folder.
fn keeping(folder: &Path) -> Proxy {
    let setup = Setup::new().with_team().everything_allowed();
    let admin = format!("admin: {{ bind: 'unix:{}' }}", setup.path("admin.sock").display());
    setup.section(&admin).section(&format!("freeze_file: {}/freeze", folder.display())).start()
}

fn with_admin() -> Proxy {
    let setup = Setup::new();
    let admin = format!("admin: {{ bind: 'unix:{}' }}", setup.path("admin.sock").display());
    setup.section(&admin).section("freeze_file: freeze").start()
}

fn operator(proxy: &Proxy, method: &str, target: &str) -> Answer {
    proxy.ask_unix("admin.sock", &request(method, target, &["Connection: close"]))
}

fn is_frozen(proxy: &Proxy) {
    let answer = proxy.send(cancel("100211")).refused(503, "PROXY.Frozen");
    proxy.record(&answer).says(json!({
        "outcome": "refused", "error.type": "PROXY.Frozen", "policy.effect": "allow", "upstream.attempts": 0,
    }));
}
